/*
 * s3_xml.h - the few XML answers of S3, through expat. Private to core/store.
 *
 * S3 answers are shallow and small. A reader here is told of each element as it ends, by its path from the
 * root
 * ("ListBucketResult/Contents/Key") and its text; names lose their namespace. A document type, an entity of
 * its own, more than S3_XML_DEPTH_MAX levels or a text beyond S3_XML_TEXT_BYTES is no S3 answer: ERR_CORRUPT.
 */
#ifndef CORE_STORE_S3_XML_H
#define CORE_STORE_S3_XML_H

#include "base/err.h"
#include "core/store/store.h"

enum { S3_XML_DEPTH_MAX = 8, S3_XML_PATH_BYTES = 256, S3_XML_TEXT_BYTES = 8192 };

typedef enum err_code s3_xml_fn(void *context, const char *path, const char *text, struct err *e);

enum err_code s3_xml_read(const void *data, size_t n, s3_xml_fn *each, void *context, struct err *e);

/* <Error>: printable, cut to fit; "" where absent. True where the document is one. */
struct s3_error {
    char code[64], message[256], request_id[128], region[64];
};
bool s3_xml_error(const void *data, size_t n, struct s3_error *out);

/* One page of ListObjectsV2 or ListObjectVersions, keys url-encoded. `each` gets the entries as they come;
 * `out_more`: the page is not the last. */
enum err_code s3_xml_page(const void *data, size_t n, store_each_fn *each, void *context, bool *out_more,
                          struct err *e);

/* The text of one element, by its path; ERR_CORRUPT where the root differs, *out "" where only the element is
 * absent. */
enum err_code s3_xml_text(const void *data, size_t n, const char *path, char *out, size_t out_bytes,
                          struct err *e);

/* `text` as element content. */
void s3_xml_escape(const char *text, struct buf *out);

#endif
