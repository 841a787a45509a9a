// NAME: sends the values of largest magnitude. This file is the policy: edit it, then `cellm plugin build`.
#include "cellm.h"

static uint32_t values;             // P, the number of adapter values
static types_value_coding_t coding; // how values travel
static double decay;                // option: factor on the density after every round

void exports_describing_describe(types_description_t *into) {
    types_option_info_t options[] = {share_option("decay", 1.0, "Factor on the density after every round.")};
    describe(into, "NAME", "0.1.0", "Sends the values of largest magnitude.",
             TYPES_CAPABILITIES_GAINS_FROM_ERROR_FEEDBACK, options, 1);
}

bool exports_compressing_init(types_layout_t *layout, exports_compressing_settings_t *settings,
                              exports_compressing_list_named_option_t *options, types_policy_error_t *error) {
    values = layout->values;
    return number_of(options->ptr, options->len, "decay", &decay, error) && coding_of(settings->bits, &coding, error);
}

// How many values travel in this round: encoder and decoder see the same context.
static uint32_t kept(const types_context_t *context) {
    double density = context->density;
    for (uint32_t round = 1; round < context->round && density > 1e-9; round++) density *= decay;
    return share_of(density, values);
}

bool exports_compressing_encode(types_context_t *context, host_borrow_vector_t of, host_borrow_vector_t start,
                                host_borrow_message_t into, types_policy_error_t *error) {
    host_own_vector_t ranked = host_method_vector_copy(of);
    if (context->content == TYPES_CONTENT_WEIGHTS) { // what is not sent falls back to the start, so rank what moved
        host_method_vector_axpy(host_borrow_vector(ranked), -1.0f, start);
    }
    host_own_index_set_t chosen = host_method_vector_top_k(host_borrow_vector(ranked), 0, values, kept(context));
    host_own_vector_t sent = host_method_vector_gather(of, host_borrow_index_set(chosen));
    host_method_message_put_indices(into, host_borrow_index_set(chosen));
    host_method_message_put_values(into, coding, host_borrow_vector(sent));
    host_vector_drop_own(ranked), host_index_set_drop_own(chosen), host_vector_drop_own(sent);
    return true;
}

bool exports_compressing_decode(types_context_t *context, host_borrow_message_t message, host_borrow_vector_t start,
                                host_own_vector_t *decoded, types_policy_error_t *error) {
    host_own_index_set_t chosen;
    host_own_vector_t sent;
    if (!host_method_message_take_indices(message, values, &chosen, error)) return false;
    uint32_t count = host_method_index_set_count(host_borrow_index_set(chosen));
    bool taken = count == kept(context) ? host_method_message_take_values(message, coding, count, &sent, error)
                                        : bad_message(error, "another number of values was expected");
    if (taken) {
        *decoded = context->content == TYPES_CONTENT_WEIGHTS ? host_method_vector_copy(start)
                                                             : host_constructor_vector(values);
        host_method_vector_scatter(host_borrow_vector(*decoded), host_borrow_index_set(chosen), host_borrow_vector(sent));
        host_vector_drop_own(sent);
    }
    host_index_set_drop_own(chosen);
    return taken;
}
