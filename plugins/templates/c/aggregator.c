// NAME: the mean of the updates, each clipped to a norm. This file is the policy: edit it, then `cellm plugin build`.
#include "cellm.h"

static double clip;           // option: the largest norm of an update; 0 leaves all as they are
static uint32_t values;       // P, the number of adapter values
static host_own_vector_t sum; // of the round under way
static uint32_t updates;

void exports_describing_describe(types_description_t *into) {
    types_option_info_t options[] = {
        number_option("clip", 0.0, "The largest norm of an update; 0 leaves all as they are.")};
    describe(into, "NAME", "0.1.0", "The mean of the updates, each scaled down to a norm of at most `clip`.", 0, options, 1);
}

bool exports_aggregating_init(types_layout_t *layout, exports_aggregating_list_named_option_t *options,
                              types_policy_error_t *error) {
    values = layout->values;
    sum = host_constructor_vector(values);
    return number_of(options->ptr, options->len, "clip", &clip, error);
}

bool exports_aggregating_begin(exports_aggregating_round_info_t *round, host_borrow_vector_t base,
                               types_policy_error_t *error) {
    host_vector_drop_own(sum);
    sum = host_constructor_vector(values);
    updates = 0;
    return true;
}

bool exports_aggregating_accept(host_borrow_vector_t update, exports_aggregating_update_info_t *info,
                                types_policy_error_t *error) {
    double norm = host_method_vector_norm(update);
    double factor = clip > 0.0 && norm > clip ? clip / norm : 1.0;
    host_method_vector_axpy(host_borrow_vector(sum), (float)factor, update);
    updates++;
    return true;
}

bool exports_aggregating_finish(host_own_vector_t *mean, types_policy_error_t *error) {
    if (updates == 0) {
        error->tag = TYPES_POLICY_ERROR_NO_UPDATES;
        return false;
    }
    *mean = host_method_vector_copy(host_borrow_vector(sum));
    host_method_vector_scale(host_borrow_vector(*mean), (float)(1.0 / updates));
    return true;
}
