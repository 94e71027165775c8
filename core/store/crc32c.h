/*
 * crc32c.h - the CRC-32C checksum (Castagnoli; RFC 3720 appendix B.4). Private to core/store.
 *
 * S3 asks for a checksum with every locked object. This is the one it knows that costs next to nothing: a
 * tenth of an MD5 and a thirtieth of a SHA-256 on a processor without SHA instructions. It guards against
 * accidents, not against people.
 */
#ifndef CORE_STORE_CRC32C_H
#define CORE_STORE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(const void *data, size_t n);
uint32_t crc32c_portable(const void *data, size_t n); /* the same without the processor's help, for tests */

enum { CRC32C_TEXT_BYTES = 9 };
/* As S3 writes it: base64 of the four bytes, most significant first. */
const char *crc32c_text(const void *data, size_t n, char out[CRC32C_TEXT_BYTES]);

#endif
