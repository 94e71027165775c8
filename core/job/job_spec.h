/*
 * job_spec.h - what a user asks for: the job spec, as a plain struct with one table of fields.
 *
 * The table (job_spec_fields) is the truth: defaults, ranges and help are read from it by the parser, by
 * `sovrun config explain job` and by the docs. What a table cannot say (leaves a power of two, ranks a power
 * of two up to leaves, which settings go with which model, retain only with a lock, ...) is checked when a
 * document is bound, with the same file:line errors.
 */
#ifndef CORE_JOB_JOB_SPEC_H
#define CORE_JOB_JOB_SPEC_H

#include "core/conf/conf.h"

enum {
    SPEC_HIDDEN_MAX = 16,
    SPEC_MISSING_MAX = 16,
    SPEC_URI_BYTES = 1024,
    SPEC_NAME_BYTES = 64,
    SPEC_LEAVES_MAX = 1024
};

enum job_task { TASK_TRAIN, TASK_EVALUATE };
enum model_kind { MODEL_MLP, MODEL_GPT };
enum model_preset { PRESET_NONE, PRESET_GPT2_124M, PRESET_GPT2_350M, PRESET_GPT2_774M, PRESET_GPT2_1558M };
enum norm_kind { NORM_LAYER, NORM_RMS };
enum positions_kind { POSITIONS_LEARNED, POSITIONS_ROTARY };
enum mlp_kind { MLP_GELU, MLP_SWIGLU };
extern const char *const norm_names[], *const positions_names[], *const mlp_names[];
enum data_format { FORMAT_CSV, FORMAT_TOKENS, FORMAT_TEXT };
enum reduce_kind { REDUCE_EXACT, REDUCE_FAST };
enum lr_schedule { SCHEDULE_CONSTANT, SCHEDULE_COSINE };
enum device_kind { DEVICE_AUTO, DEVICE_CPU, DEVICE_CUDA };
enum precision_kind { PRECISION_FP32, PRECISION_TF32, PRECISION_BF16 };
enum rounding_kind { ROUNDING_NEAREST, ROUNDING_STOCHASTIC };

struct spec_model {
    int kind;                        /* enum model_kind */
    int64_t hidden[SPEC_HIDDEN_MAX]; /* mlp */
    size_t hidden_count;
    double dropout;
    /* gpt. Once a spec is bound, what the preset says stands in the numbers too. */
    int preset;
    int64_t layers, heads, width, context;
    int64_t vocab; /* 0: as large as the dataset's */
    int norm, positions, mlp;
    bool recompute;
    char from[SPEC_URI_BYTES]; /* parameters to begin with: a safetensors file, or a manifest of ours */
};
struct spec_data {
    char train[SPEC_URI_BYTES]; /* dataset manifest: s3://bucket/prefix; or file://path.csv, staged on the fly
                                   by the client */
    double holdout;             /* share of each shard's tail kept for evaluation; 0: none */
    int format;                 /* text: of a plain file alone, which becomes tokens when it is staged */
    char target[SPEC_NAME_BYTES], positive[SPEC_NAME_BYTES];
    char missing[SPEC_MISSING_MAX][SPEC_NAME_BYTES];
    size_t missing_count;
};
struct spec_resources {
    int64_t ranks;
    int device;
    int64_t cpus_per_rank, gpus_per_rank;
    int64_t time_limit_ms; /* of one attempt; 0: none */
};
struct spec_train {
    int64_t epochs, batch; /* batch: records a step over all leaves */
    double lr;
    int schedule;
    int64_t warmup; /* steps */
    double weight_decay, beta1, beta2, epsilon;
    double clip;           /* by the global norm; 0: off */
    double explode;        /* stop at a loss of so many times that of a guess; 0: never */
    int64_t compare_every; /* steps from one comparison of the ranks' parameters to the next; 0: none */
    int64_t seed, leaves;
    int reduce, precision, rounding;
};
struct spec_checkpoint {
    char to[SPEC_URI_BYTES];
    int64_t every_steps; /* written "200 steps" or "200" */
    int64_t keep;
    int lock; /* enum store_lock_mode by name */
    int64_t retain_ms;
    char key[SPEC_NAME_BYTES]; /* the key-encryption key */
    int64_t deadline_ms;       /* of one checkpoint, from its beginning to its manifest */
};
struct spec_retry {
    int64_t max;
    int64_t backoff_ms; /* doubles with each retry, at most 10 min */
};
struct job_spec {
    char name[SPEC_NAME_BYTES], queue[SPEC_NAME_BYTES];
    int task;
    int64_t priority; /* -100 .. 100; higher first */
    struct spec_model model;
    struct spec_data data;
    struct spec_resources resources;
    struct spec_train train;
    struct spec_checkpoint checkpoint;
    struct spec_retry retry;
};
extern const struct conf_field job_spec_fields[];

/* How many tokens make a record of training: 0 where a record of the dataset is one. */
uint64_t job_spec_context(const struct job_spec *spec);

/* Bind and check. ERR_USAGE with file, line and key. */
enum err_code job_spec_from_doc(const struct conf_doc *doc, struct job_spec *out, struct err *e);
/* The canonical form that is stored, hashed and sent: every setting, defaults too, and fractions as text
 * ("0.003"), so that no JSON library's way of printing reals is part of a digest. And back: ERR_CORRUPT names
 * the setting that is missing, unknown, out of range or not in this form. */
json_t *job_spec_to_json(const struct job_spec *spec);
enum err_code job_spec_from_json(const json_t *j, struct job_spec *out, struct err *e);
void job_spec_digest(const struct job_spec *spec, char out_hex[65]); /* SHA-256 of the canonical JSON */

#endif
