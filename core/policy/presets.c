#include "core/policy/presets.h"

#include <string.h>

const char *const policy_provider_names[] = { "local", "s3",    "aws-eusc", "ovh",      "scaleway", "stackit",
                                              "otc",   "ionos", "exoscale", "outscale", "hetzner",  NULL };

static const struct preset presets[] = {
    { "aws-eusc", "eusc-de-east-1", "DE", "s3.eusc-de-east-1.amazonaws.eu" },
    { "ovh", "gra", "FR", "s3.gra.io.cloud.ovh.net" },
    { "ovh", "rbx", "FR", "s3.rbx.io.cloud.ovh.net" },
    { "ovh", "sbg", "FR", "s3.sbg.io.cloud.ovh.net" },
    { "ovh", "eu-west-par", "FR", "s3.eu-west-par.io.cloud.ovh.net" },
    { "ovh", "de", "DE", "s3.de.io.cloud.ovh.net" },
    { "ovh", "waw", "PL", "s3.waw.io.cloud.ovh.net" },
    { "scaleway", "fr-par", "FR", "s3.fr-par.scw.cloud" },
    { "scaleway", "nl-ams", "NL", "s3.nl-ams.scw.cloud" },
    { "scaleway", "pl-waw", "PL", "s3.pl-waw.scw.cloud" },
    { "stackit", "eu01", "DE", "object.storage.eu01.onstackit.cloud" },
    { "otc", "eu-de", "DE", "obs.eu-de.otc.t-systems.com" },
    { "otc", "eu-nl", "NL", "obs.eu-nl.otc.t-systems.com" },
    { "ionos", "de", "DE", "s3.eu-central-1.ionoscloud.com" },
    { "ionos", "eu-central-2", "DE", "s3.eu-central-2.ionoscloud.com" },
    { "ionos", "eu-central-3", "DE", "s3.eu-central-3.ionoscloud.com" },
    { "ionos", "eu-central-4", "DE", "s3.eu-central-4.ionoscloud.com" },
    { "ionos", "eu-south-2", "ES", "s3.eu-south-2.ionoscloud.com" },
    { "exoscale", "de-fra-1", "DE", "sos-de-fra-1.exo.io" },
    { "exoscale", "at-vie-1", "AT", "sos-at-vie-1.exo.io" },
    { "outscale", "eu-west-2", "FR", "oos.eu-west-2.outscale.com" },
    { "outscale", "cloudgouv-eu-west-1", "FR", "oos.cloudgouv-eu-west-1.outscale.com" },
    { "hetzner", "fsn1", "DE", "fsn1.your-objectstorage.com" },
    { "hetzner", "nbg1", "DE", "nbg1.your-objectstorage.com" },
    { "hetzner", "hel1", "FI", "hel1.your-objectstorage.com" },
};

static const struct {
    const char *provider;
    struct policy_quirks quirks;
} quirks[] = {
    { "stackit", { .compliance = true, .governance = true, .legal_hold = true, .retain_max_days = 365 } },
    { "otc", { .compliance = true } },
    { "exoscale", { .legal_hold = true } },
    { "outscale", { .compliance = true, .legal_hold = true } },
};

bool preset_is_one(int provider)
{
    return provider > PROVIDER_S3;
}

const struct preset *preset_find(int provider, const char *region)
{
    for (size_t i = 0; i < ARRAY_LEN(presets); i++)
        if (strcmp(presets[i].provider, policy_provider_names[provider]) == 0 &&
            strcmp(presets[i].region, region) == 0)
            return &presets[i];
    return NULL;
}

void preset_regions(int provider, struct buf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(presets); i++)
        if (strcmp(presets[i].provider, policy_provider_names[provider]) == 0)
            buf_addf(out, "%s%s", out->len ? ", " : "", presets[i].region);
}

struct policy_quirks preset_quirks(int provider)
{
    for (size_t i = 0; i < ARRAY_LEN(quirks); i++)
        if (strcmp(quirks[i].provider, policy_provider_names[provider]) == 0)
            return quirks[i].quirks;
    return (struct policy_quirks){ .compliance = true, .governance = true, .legal_hold = true };
}
