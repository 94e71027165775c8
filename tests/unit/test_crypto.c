/* core/crypto against vectors that others published, and against what must be refused. */
#include "tests/test.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "core/crypto/crypto.h"

#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { BYTES_MAX = 512 };

struct bytes {
    uint8_t data[BYTES_MAX];
    size_t n;
};

static struct bytes from_hex(const char *hex)
{
    struct err e = ERR_INIT;
    struct bytes b = { .n = strlen(hex) / 2 };
    assert_true(b.n <= BYTES_MAX);
    assert_ok(hex_decode(hex, b.data, b.n, &e));
    return b;
}

static void assert_hex(const void *data, size_t n, const char *want)
{
    char hex[2 * BYTES_MAX + 1];
    assert_true(n <= BYTES_MAX);
    hex_encode(data, n, hex);
    assert_string_equal(hex, want);
}

/* ---- SHA-256: FIPS 180-4 and the examples NIST publishes with it ---- */

static const struct hash_row {
    const char *name, *text, *want;
} hash_rows[] = {
    { "sha256 of nothing", "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
    { "sha256 of abc (one block)", "abc",
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
    { "sha256 of 56 bytes (two blocks)", "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
};

static void hash_agrees(void **state)
{
    const struct hash_row *r = *state;
    char hex[SHA256_HEX_BYTES];
    uint8_t hash[SHA256_BYTES];
    size_t n = strlen(r->text);
    sha256_hex(r->text, n, hex);
    assert_string_equal(hex, r->want);
    CLEANUP(sha256_freep) struct sha256 *h = sha256_new();
    for (size_t i = 0; i < n; i++)
        sha256_add(h, r->text + i, 1);
    sha256_end(h, hash);
    assert_hex(hash, sizeof(hash), r->want);
}

static void hash_of_a_million(void **state)
{
    (void)state;
    char a[1000];
    uint8_t hash[SHA256_BYTES];
    memset(a, 'a', sizeof(a));
    CLEANUP(sha256_freep) struct sha256 *h = sha256_new();
    for (int i = 0; i < 1000; i++)
        sha256_add(h, a, sizeof(a));
    sha256_end(h, hash);
    assert_hex(hash, sizeof(hash), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* ---- HMAC-SHA-256: RFC 4231 ---- */

static const struct mac_row {
    const char *name, *key, *data, *want;
} mac_rows[] = {
    { "hmac: RFC 4231 case 1", "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
      "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
    { "hmac: RFC 4231 case 2, a short key", "4a656665",
      "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
      "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
    { "hmac: RFC 4231 case 3", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
      "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd",
      "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe" },
    { "hmac: an empty key is a key", "", "",
      "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad" },
};

static void mac_agrees(void **state)
{
    const struct mac_row *r = *state;
    struct bytes key = from_hex(r->key), data = from_hex(r->data);
    uint8_t out[SHA256_BYTES];
    hmac_sha256(key.data, key.n, data.data, data.n, out);
    assert_hex(out, sizeof(out), r->want);
}

static void mac_hashes_a_long_key(void **state) /* RFC 4231 case 6 */
{
    (void)state;
    static const char data[] = "Test Using Larger Than Block-Size Key - Hash Key First";
    uint8_t key[131], out[SHA256_BYTES];
    memset(key, 0xaa, sizeof(key));
    hmac_sha256(key, sizeof(key), data, sizeof(data) - 1, out);
    assert_hex(out, sizeof(out), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

/* ---- HKDF-Expand: RFC 5869 (SHA-256); Wycheproof hkdf_sha384 (the PRK extracted from its ikm and salt) ----
 */

static const struct hkdf_row {
    const char *name;
    bool sha384;
    const char *prk, *info, *want;
} hkdf_rows[] = {
    { "hkdf-sha256: RFC 5869 case 1", false,
      "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5", "f0f1f2f3f4f5f6f7f8f9",
      "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865" },
    { "hkdf-sha256: RFC 5869 case 2, three blocks", false,
      "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
      "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2"
      "e3e4e5e6e7"
      "e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
      "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275"
      "600c2f09b8"
      "367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87" },
    { "hkdf-sha256: RFC 5869 case 3, no info", false,
      "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04", "",
      "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8" },
    { "hkdf-sha384: Wycheproof 6, two blocks", true,
      "8004e7ec9eb51889ce639bf25ac0162028e634eb7b643851f396ea1ee69c0827708e31ff9189f2c8ac2f47cf47cf0967",
      "dcd590e418b259c64fb9e139b3a1280d5de8400b",
      "aeedc066b0ff9bd6fc13cba752a2fe8d2ffb9f013236d737e8e0031c4a5f287c67c6e7f0005d7766a2d7a4965c8c6c1e83c00f"
      "873f610027"
      "11969c709a4a0d66" },
    { "hkdf-sha384: Wycheproof 10, part of a block", true,
      "6c29260c4586df3239e7bdf21e10c402d25a32f6ad1ca1417e6af4418e1245ae7330bc1afc7a3756f2ab54ae5fd88515",
      "e0ddfaaaa7afb53f59a007a205c7149b5b5a72be", "00aa140387a3d43aae915c35b306533179019bab" },
    { "hkdf-sha384: Wycheproof 12", true,
      "56f25eb6ff0bc91b7f53d89dcd3cbbe72fce0e0c316fd807e4684e3eb059a5c88b620b33ccab38bec4708ac4cf5da9fc",
      "967ccd75395be6e96a67759f070487c9e2107791",
      "bd02e16b6024f2c3b752d1c1d3047583697731915fbbb34418f479b0c9bf84a86bd8e715eca198da8f9b39b25a1229c311853f"
      "862340cdef"
      "e46ddf41dcf256d9" },
    { "hkdf-sha384: Wycheproof 15, no info", true,
      "a6c02b5a82b5d1ffc9133d0198d18101a7f5719b4601ee7d4befb96af336cb59d7c9ab149e344f24e35ca1f69dd7f7f8", "",
      "a4ef89a8da9cf7ad0d3d6e0888d366701326a3b8a8525221acc64f983be99fce0ca9773b35e6ddd329da3377ca0802f18c8061"
      "039f9b42b4"
      "0a1c2a91ea458d24" },
};

static void hkdf_agrees(void **state)
{
    const struct hkdf_row *r = *state;
    struct bytes prk = from_hex(r->prk), info = from_hex(r->info);
    uint8_t out[BYTES_MAX];
    size_t n = strlen(r->want) / 2;
    if (r->sha384)
        hkdf_expand_sha384(prk.data, prk.n, info.data, info.n, out, n);
    else
        hkdf_expand_sha256(prk.data, prk.n, info.data, info.n, out, n);
    assert_hex(out, n, r->want);
}

/* ---- AES-256-GCM: test cases 13 to 16 of the GCM submission to NIST (McGrew, Viega) ---- */

#define GCM_KEY "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"
#define GCM_PLAIN_60                                                                                         \
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aed" \
    "f5aa0de657"                                                                                             \
    "ba637b39"
#define GCM_CIPHER_60                                                                                        \
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e" \
    "6393ba7a0a"                                                                                             \
    "bcc9f662"

static const struct aead_row {
    const char *name, *key, *iv, *aad, *plain, *cipher, *tag;
} aead_rows[] = {
    { "aes-256-gcm: case 13, nothing", "0000000000000000000000000000000000000000000000000000000000000000",
      "000000000000000000000000", "", "", "", "530f8afbc74536b9a963b4f1c4cb738b" },
    { "aes-256-gcm: case 14, one block", "0000000000000000000000000000000000000000000000000000000000000000",
      "000000000000000000000000", "", "00000000000000000000000000000000", "cea7403d4d606b6e074ec5d3baf39d18",
      "d0d1c8a799996bf0265b98b5d48ab919" },
    { "aes-256-gcm: case 15, four blocks", GCM_KEY, "cafebabefacedbaddecaf888", "", GCM_PLAIN_60 "1aafd255",
      GCM_CIPHER_60 "898015ad", "b094dac5d93471bdec1a502270e3cc6c" },
    { "aes-256-gcm: case 16, associated data", GCM_KEY, "cafebabefacedbaddecaf888",
      "feedfacedeadbeeffeedfacedeadbeefabaddad2", GCM_PLAIN_60, GCM_CIPHER_60,
      "76fc6ece0f4e1768cddf8853bb2d551b" },
};

static void aead_agrees(void **state)
{
    const struct aead_row *r = *state;
    struct err e = ERR_INIT;
    struct bytes key = from_hex(r->key), iv = from_hex(r->iv), aad = from_hex(r->aad),
                 plain = from_hex(r->plain);
    uint8_t out[BYTES_MAX], tag[AEAD_TAG_BYTES];
    CLEANUP(aead_freep) struct aead *a = aead_new(key.data);
    for (int again = 0; again < 2; again++) { /* one key, many messages, both ways */
        aead_seal(a, iv.data, aad.data, aad.n, plain.data, plain.n, out, tag);
        assert_hex(out, plain.n, r->cipher);
        assert_hex(tag, sizeof(tag), r->tag);
        assert_ok(aead_open(a, iv.data, aad.data, aad.n, out, plain.n, tag, out, &e)); /* in place */
        assert_hex(out, plain.n, r->plain);
    }
}

static void aead_refuses(const struct bytes *iv, const struct bytes *aad, const struct bytes *cipher,
                         const uint8_t tag[AEAD_TAG_BYTES], struct aead *a)
{
    struct err e = ERR_INIT;
    static const uint8_t zero[BYTES_MAX];
    uint8_t out[BYTES_MAX];
    memset(out, 0xee, sizeof(out));
    assert_int_equal(aead_open(a, iv->data, aad->data, aad->n, cipher->data, cipher->n, tag, out, &e),
                     ERR_CORRUPT);
    assert_memory_equal(out, zero, cipher->n);
}

static void aead_refuses_each_flipped_bit(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    const struct aead_row *r = &aead_rows[3];
    struct bytes key = from_hex(r->key), iv = from_hex(r->iv), aad = from_hex(r->aad);
    struct bytes cipher = from_hex(r->cipher), tag = from_hex(r->tag);
    struct bytes *parts[] = { &iv, &aad, &cipher, &tag };
    uint8_t out[BYTES_MAX];
    CLEANUP(aead_freep) struct aead *a = aead_new(key.data);
    for (size_t p = 0; p < ARRAY_LEN(parts); p++)
        for (size_t bit = 0; bit < 8 * parts[p]->n; bit++) {
            parts[p]->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            aead_refuses(&iv, &aad, &cipher, tag.data, a);
            parts[p]->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    assert_ok(aead_open(a, iv.data, aad.data, aad.n, cipher.data, cipher.n, tag.data, out, &e));
}

static void aead_refuses_another_key(void **state)
{
    (void)state;
    const struct aead_row *r = &aead_rows[3];
    struct bytes key = from_hex(r->key), iv = from_hex(r->iv), aad = from_hex(r->aad);
    struct bytes cipher = from_hex(r->cipher), tag = from_hex(r->tag);
    key.data[31] ^= 1;
    CLEANUP(aead_freep) struct aead *a = aead_new(key.data);
    aead_refuses(&iv, &aad, &cipher, tag.data, a);
}

/* ---- Ed25519: RFC 8032, section 7.1 ---- */

static const struct sign_row {
    const char *name, *seed, *public_key, *message, *signature;
} sign_rows[] = {
    { "ed25519: RFC 8032 test 1, an empty message",
      "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
      "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5"
      "f0595bbe24"
      "655141438e7a100b" },
    { "ed25519: RFC 8032 test 2", "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
      "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2e"
      "aeb4302aee"
      "b00d291612bb0c00" },
    { "ed25519: RFC 8032 test 3", "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
      "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
      "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15"
      "e9716ed28d"
      "c027beceea1ec40a" },
};

static void signer_of(const struct sign_row *r, struct signer *out)
{
    struct err e = ERR_INIT;
    struct bytes seed = from_hex(r->seed);
    CLEANUP(secret_freep) struct secret *s = secret_new(seed.data, seed.n);
    assert_ok(signer_from_seed(s, out, &e));
}

static void signature_agrees(void **state)
{
    const struct sign_row *r = *state;
    struct err e = ERR_INIT;
    struct bytes message = from_hex(r->message);
    uint8_t out[SIGN_BYTES];
    CLEANUP(signer_done) struct signer s = { .seed = NULL };
    signer_of(r, &s);
    assert_hex(s.public_key, sizeof(s.public_key), r->public_key);
    assert_ok(sign(&s, message.data, message.n, out, &e));
    assert_hex(out, sizeof(out), r->signature);
    assert_ok(sign_verify(s.public_key, message.data, message.n, out, &e));
}

static void signature_refuses_altered(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    const struct sign_row *r = &sign_rows[2];
    struct bytes key = from_hex(r->public_key), message = from_hex(r->message),
                 signature = from_hex(r->signature);
    for (size_t bit = 0; bit < 8 * SIGN_BYTES; bit++) {
        signature.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(sign_verify(key.data, message.data, message.n, signature.data, &e), ERR_CORRUPT);
        signature.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(sign_verify(key.data, message.data, message.n - 1, signature.data, &e), ERR_CORRUPT);
    struct bytes other = from_hex(sign_rows[1].public_key);
    assert_int_equal(sign_verify(other.data, message.data, message.n, signature.data, &e), ERR_CORRUPT);
    memset(other.data, 0xff, other.n); /* no point of the curve */
    assert_int_equal(sign_verify(other.data, message.data, message.n, signature.data, &e), ERR_CORRUPT);
}

/* S + L verifies by the equation alone; RFC 8032 5.1.7 and Wycheproof ("signature malleability") refuse it.
 */
static void signature_refuses_its_twin(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct bytes key = from_hex(sign_rows[0].public_key);
    struct bytes twin = from_hex("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
                                 "4c8c7872aa064e049dbb3013fbf29380d25bf5f0595bbe24655141438e7a101b");
    assert_int_equal(sign_verify(key.data, "", 0, twin.data, &e), ERR_CORRUPT);
}

static void key_id_is_the_hash_of_the_key(void **state)
{
    (void)state;
    char hex[SHA256_HEX_BYTES];
    CLEANUP(signer_done) struct signer s = { .seed = NULL };
    signer_of(&sign_rows[0], &s);
    sha256_hex(s.public_key, sizeof(s.public_key), hex);
    assert_int_equal(strlen(s.key_id), SIGN_KEY_ID_BYTES - 1);
    assert_memory_equal(s.key_id, hex, SIGN_KEY_ID_BYTES - 1);
}

static void a_seed_has_32_bytes(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    CLEANUP(secret_freep) struct secret *seed = secret_random(31);
    struct signer s = { .seed = NULL };
    assert_int_equal(signer_from_seed(seed, &s, &e), ERR_USAGE);
    assert_null(s.seed);
}

/* ---- PEM ---- */

/* RFC 8410, sections 10.1 and 10.3: the same key pair, private as PKCS #8 and public as SubjectPublicKeyInfo.
 */
static const char rfc8410_private[] = "-----BEGIN PRIVATE KEY-----\n"
                                      "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n"
                                      "-----END PRIVATE KEY-----\n";
static const char rfc8410_public[] = "-----BEGIN PUBLIC KEY-----\n"
                                     "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
                                     "-----END PUBLIC KEY-----\n";

static void pem_is_rfc_8410(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    uint8_t public_key[SIGN_PUBLIC_BYTES];
    CLEANUP(secret_freep) struct secret *pem = secret_new(rfc8410_private, sizeof(rfc8410_private) - 1);
    CLEANUP(secret_freep) struct secret *seed = NULL;
    CLEANUP(signer_done) struct signer s = { .seed = NULL };
    CLEANUP(buf_wipe) struct buf text = BUF_INIT(4096);
    assert_ok(sign_private_from_pem(pem, &seed, &e));
    assert_ok(signer_from_seed(seed, &s, &e));
    assert_ok(sign_public_from_pem(rfc8410_public, public_key, &e));
    assert_memory_equal(public_key, s.public_key, sizeof(public_key));
    assert_ok(sign_private_pem(seed, &text, &e));
    assert_string_equal(buf_text(&text), rfc8410_private);
    buf_reset(&text);
    assert_ok(sign_public_pem(public_key, &text, &e));
    assert_string_equal(buf_text(&text), rfc8410_public);
}

static void pem_refuses_what_is_no_key(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    static const char *const wrong[] = { "", "no PEM", "-----BEGIN PRIVATE KEY-----\n", rfc8410_public };
    uint8_t public_key[SIGN_PUBLIC_BYTES];
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        CLEANUP(secret_freep) struct secret *pem = secret_new(wrong[i], strlen(wrong[i]));
        struct secret *seed = NULL;
        assert_int_equal(sign_private_from_pem(pem, &seed, &e), ERR_USAGE);
        assert_null(seed);
    }
    assert_int_equal(sign_public_from_pem("", public_key, &e), ERR_USAGE);
    assert_int_equal(sign_public_from_pem(rfc8410_private, public_key, &e), ERR_USAGE);
}

static void pem_refuses_another_algorithm(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    uint8_t public_key[SIGN_PUBLIC_BYTES];
    /* The X25519 key 0x09, 31 x 0: the base point of RFC 7748. */
    assert_int_equal(sign_public_from_pem("-----BEGIN PUBLIC KEY-----\n"
                                          "MCowBQYDK2VuAyEACQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
                                          "-----END PUBLIC KEY-----\n",
                                          public_key, &e),
                     ERR_USAGE);
}

/* ---- secrets ---- */

static void secret_holds_a_copy(void **state)
{
    (void)state;
    char text[] = "hunter2";
    CLEANUP(secret_freep) struct secret *s = secret_new(text, 7);
    explicit_bzero(text, sizeof(text));
    CLEANUP(secret_freep) struct secret *same = secret_copy(s);
    CLEANUP(secret_freep) struct secret *other = secret_new("hunter3", 7);
    CLEANUP(secret_freep) struct secret *longer = secret_new("hunter2\0", 8);
    assert_string_equal(secret_bytes(s), "hunter2"); /* the NUL behind it is there */
    assert_int_equal(secret_len(s), 7);
    assert_true(secret_equal(s, same));
    assert_false(secret_equal(s, other));
    assert_false(secret_equal(s, longer));
}

static void secret_may_be_empty_or_large(void **state)
{
    (void)state;
    CLEANUP(secret_freep) struct secret *none = secret_new(NULL, 0);
    CLEANUP(secret_freep) struct secret *large = secret_random(SECRET_BYTES_MAX);
    assert_int_equal(secret_len(none), 0);
    assert_string_equal(secret_bytes(none), "");
    assert_int_equal(((const char *)secret_bytes(large))[SECRET_BYTES_MAX], 0);
    secret_free(NULL);
}

static void secret_random_differs(void **state)
{
    (void)state;
    CLEANUP(secret_freep) struct secret *a = secret_random(32);
    CLEANUP(secret_freep) struct secret *b = secret_random(32);
    assert_false(secret_equal(a, b));
}

/* "VmFlags: rd wr ... dd" says: left out of dumps (proc(5)). */
static void secret_pages_stay_out_of_dumps(void **state)
{
    (void)state;
    char line[512];
    bool here = false, kept_out = false;
    unsigned long from, to;
    CLEANUP(secret_freep) struct secret *s = secret_random(32);
    unsigned long address = (unsigned long)(uintptr_t)secret_bytes(s);
    FILE *f = fopen("/proc/self/smaps", "r");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            here = from <= address && address < to;
        if (here && text_starts(line, "VmFlags:"))
            kept_out = strstr(line, " dd") != NULL;
    }
    fclose(f);
    assert_true(kept_out);
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    struct err e = ERR_INIT;
    assert_ok(file_write(path, text, strlen(text), mode, &e));
}

static void secret_from_a_private_file(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    CLEANUP(freep) char *dir = mem_printf("build/test-crypto-%d", (int)getpid());
    CLEANUP(freep) char *path = path_join(dir, "password");
    assert_ok(dir_make(dir, 0700, &e));
    write_file(path, "two lines\nhere\n", 0600);
    CLEANUP(secret_freep) struct secret *s = NULL;
    assert_ok(secret_from_file(path, &s, &e));
    assert_string_equal(secret_bytes(s), "two lines\nhere"); /* one newline goes */
    struct secret *open_to_all = NULL;
    write_file(path, "seen by others\n", 0640);
    assert_int_equal(secret_from_file(path, &open_to_all, &e), ERR_DENIED);
    assert_non_null(strstr(e.text, "chmod 600"));
    assert_null(strstr(e.text, "seen by others"));
    assert_null(open_to_all);
    assert_ok(file_remove(path, &e));
    assert_int_equal(secret_from_file(path, &open_to_all, &e), ERR_NOT_FOUND);
    assert_int_equal(rmdir(dir), 0);
}

static void harden_ends_core_dumps(void **state) /* in a child: it cannot be undone */
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit core;
        secret_harden_process();
        getrlimit(RLIMIT_CORE, &core);
        _exit(prctl(PR_GET_DUMPABLE) == 0 && core.rlim_cur == 0 && core.rlim_max == 0 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void equal_compares_every_byte(void **state)
{
    (void)state;
    assert_true(crypto_equal("", "", 0));
    assert_true(crypto_equal("abcd", "abcd", 4));
    assert_false(crypto_equal("abcd", "abce", 4));
    assert_false(crypto_equal("abcd", "bbcd", 4));
}

enum { TESTS_MAX = 64 };
struct group {
    struct CMUnitTest tests[TESTS_MAX];
    size_t count;
};

#define ADD_ROWS(group, rows, fn)                                                                            \
    for (size_t i_ = 0; i_ < ARRAY_LEN(rows); i_++)                                                          \
        (group)->tests[(group)->count++] = (struct CMUnitTest)                                               \
        {                                                                                                    \
            (rows)[i_].name, fn, NULL, NULL, (void *)(uintptr_t) & (rows)[i_]                                \
        }

int main(void)
{
    static struct group g;
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(hash_of_a_million),
        cmocka_unit_test(mac_hashes_a_long_key),
        cmocka_unit_test(aead_refuses_each_flipped_bit),
        cmocka_unit_test(aead_refuses_another_key),
        cmocka_unit_test(signature_refuses_altered),
        cmocka_unit_test(signature_refuses_its_twin),
        cmocka_unit_test(key_id_is_the_hash_of_the_key),
        cmocka_unit_test(a_seed_has_32_bytes),
        cmocka_unit_test(pem_is_rfc_8410),
        cmocka_unit_test(pem_refuses_what_is_no_key),
        cmocka_unit_test(pem_refuses_another_algorithm),
        cmocka_unit_test(secret_holds_a_copy),
        cmocka_unit_test(secret_may_be_empty_or_large),
        cmocka_unit_test(secret_random_differs),
        cmocka_unit_test(secret_pages_stay_out_of_dumps),
        cmocka_unit_test(secret_from_a_private_file),
        cmocka_unit_test(harden_ends_core_dumps),
        cmocka_unit_test(equal_compares_every_byte),
    };
    ADD_ROWS(&g, hash_rows, hash_agrees);
    ADD_ROWS(&g, mac_rows, mac_agrees);
    ADD_ROWS(&g, hkdf_rows, hkdf_agrees);
    ADD_ROWS(&g, aead_rows, aead_agrees);
    ADD_ROWS(&g, sign_rows, signature_agrees);
    memcpy(&g.tests[g.count], others, sizeof(others));
    g.count += ARRAY_LEN(others);
    return _cmocka_run_group_tests("crypto", g.tests, g.count, NULL, NULL);
}
