// What a policy in C uses beside the generated bindings (policy.h): describing itself, reading options, failing.
// Everything here is small; read it once and you know it.
//
// Hooks return true when they did their work. `host_borrow_vector(v)` lends a vector of yours to a call, and
// `host_vector_drop_own(v)` gives it back to the host: handles are counted (limits.handles). Vectors and messages that a
// hook gets as arguments are dropped by the bindings.
#pragma once
#include "policy.h"
#include <stdlib.h>
#include <string.h>

// A copy of a text for the host, which frees it.
static inline policy_string_t text(const char *words) {
    policy_string_t copy;
    policy_string_dup(&copy, words);
    return copy;
}

// Ends a hook with a typed error; the instance stays usable.
static inline bool fail(types_policy_error_t *error, const char *why) {
    error->tag = TYPES_POLICY_ERROR_OTHER;
    error->val.other = text(why);
    return false;
}

// What to answer to a message that does not fit.
static inline bool bad_message(types_policy_error_t *error, const char *why) {
    error->tag = TYPES_POLICY_ERROR_BAD_MESSAGE;
    error->val.bad_message = text(why);
    return false;
}

// Why `init` refuses an option that fits its kind.
static inline bool bad_option(types_policy_error_t *error, const char *name, const char *found, const char *allowed) {
    error->tag = TYPES_POLICY_ERROR_BAD_OPTION;
    error->val.bad_option = (types_bad_option_t){text(name), text(found), text(allowed)};
    return false;
}

// A line of the engine's log.
static inline void say(const char *words) {
    policy_string_t borrowed;
    policy_string_set(&borrowed, words);
    host_log(TYPES_LOG_LEVEL_INFO, &borrowed);
}

// Ends the call and the instance; whoever runs the engine is told why. For mistakes of the policy itself: what a message
// from outside can cause is a `fail`.
_Noreturn static inline void give_up(const char *why) {
    policy_string_t borrowed;
    policy_string_set(&borrowed, why);
    host_log(TYPES_LOG_LEVEL_ERROR, &borrowed);
    abort();
}

// Whether the loss of an update is known.
static inline bool known(double loss) { return loss == loss; }

// Declarations of options, for `describe`.
static inline types_option_info_t option(const char *name, uint8_t kind, types_option_value_t value, const char *about) {
    return (types_option_info_t){text(name), {.tag = kind}, value, text(about)};
}

// A number above 0 and at most 1.
static inline types_option_info_t share_option(const char *name, double value, const char *about) {
    types_option_value_t number = {.tag = TYPES_OPTION_VALUE_NUMBER, .val.number = value};
    return option(name, TYPES_OPTION_KIND_SHARE, number, about);
}

// Any finite number.
static inline types_option_info_t number_option(const char *name, double value, const char *about) {
    types_option_value_t number = {.tag = TYPES_OPTION_VALUE_NUMBER, .val.number = value};
    return option(name, TYPES_OPTION_KIND_NUMBER, number, about);
}

// An integer, 0 or above.
static inline types_option_info_t count_option(const char *name, int64_t value, const char *about) {
    types_option_value_t integer = {.tag = TYPES_OPTION_VALUE_INTEGER, .val.integer = value};
    return option(name, TYPES_OPTION_KIND_COUNT, integer, about);
}

// true or false.
static inline types_option_info_t flag_option(const char *name, bool value, const char *about) {
    types_option_value_t flag = {.tag = TYPES_OPTION_VALUE_FLAG, .val.flag = value};
    return option(name, TYPES_OPTION_KIND_FLAG, flag, about);
}

// One of `count` words; the first is the default.
static inline types_option_info_t choice_option(const char *name, const char *const *words, size_t count, const char *about) {
    types_option_value_t value = {.tag = TYPES_OPTION_VALUE_TEXT, .val.text = text(words[0])};
    types_option_info_t choice = option(name, TYPES_OPTION_KIND_CHOICE, value, about);
    choice.kind.val.choice = (policy_list_string_t){malloc(count * sizeof(policy_string_t)), count};
    for (size_t i = 0; i < count; i++) {
        choice.kind.val.choice.ptr[i] = text(words[i]);
    }
    return choice;
}

// Fills in what a policy says about itself. `options` are `count` declarations.
static inline void describe(types_description_t *into, const char *name, const char *version, const char *about,
                            types_capabilities_t capabilities, const types_option_info_t *options, size_t count) {
    *into = (types_description_t){text(name), text(version), text(about), capabilities, {NULL, count}};
    if (count > 0) {
        into->options.ptr = malloc(count * sizeof(types_option_info_t));
        memcpy(into->options.ptr, options, count * sizeof(types_option_info_t));
    }
}

// Whether a text is this word.
static inline bool is_word(policy_string_t text, const char *word) {
    return text.len == strlen(word) && memcmp(text.ptr, word, text.len) == 0;
}

// The value of an option of this kind; `init` gets every declared one. Another name ends `init` with an error.
static inline bool option_of(const types_named_option_t *options, size_t count, const char *name, uint8_t kind,
                             types_option_value_t *value, types_policy_error_t *error) {
    size_t length = strlen(name);
    for (size_t i = 0; i < count; i++) {
        if (options[i].f0.len == length && memcmp(options[i].f0.ptr, name, length) == 0) {
            *value = options[i].f1;
            return value->tag == kind || bad_option(error, name, "of another kind", "the kind that `describe` declares");
        }
    }
    return bad_option(error, name, "not declared", "the options that `describe` declares");
}

// Of a share or a number.
static inline bool number_of(const types_named_option_t *options, size_t count, const char *name, double *into,
                             types_policy_error_t *error) {
    types_option_value_t value;
    bool found = option_of(options, count, name, TYPES_OPTION_VALUE_NUMBER, &value, error);
    if (found) *into = value.val.number;
    return found;
}

// Of a count.
static inline bool integer_of(const types_named_option_t *options, size_t count, const char *name, int64_t *into,
                              types_policy_error_t *error) {
    types_option_value_t value;
    bool found = option_of(options, count, name, TYPES_OPTION_VALUE_INTEGER, &value, error);
    if (found) *into = value.val.integer;
    return found;
}

// Of a flag.
static inline bool flag_of(const types_named_option_t *options, size_t count, const char *name, bool *into,
                           types_policy_error_t *error) {
    types_option_value_t value;
    bool found = option_of(options, count, name, TYPES_OPTION_VALUE_FLAG, &value, error);
    if (found) *into = value.val.flag;
    return found;
}

// Whether the value of a choice is this word.
static inline bool choice_is(const types_named_option_t *options, size_t count, const char *name, const char *word,
                             bool *into, types_policy_error_t *error) {
    types_option_value_t value;
    bool found = option_of(options, count, name, TYPES_OPTION_VALUE_TEXT, &value, error);
    if (found) *into = is_word(value.val.text, word);
    return found;
}

// Remembers a vector under a key, for later rounds; the host takes a copy, so what is yours stays yours.
static inline void remember(const char *key, host_borrow_vector_t value) {
    policy_string_t borrowed;
    policy_string_set(&borrowed, key);
    host_save(&borrowed, value);
}

// The vector under a key, if there is one; it is yours, to be dropped.
static inline bool recall(const char *key, host_own_vector_t *into) {
    policy_string_t borrowed;
    policy_string_set(&borrowed, key);
    return host_load(&borrowed, into);
}

// k = floor(density * values), at least 1 and at most `values`.
static inline uint32_t share_of(double density, uint32_t values) {
    // 0.29 of 100 is 28.999999999999996 in floating point, and 29 are meant.
    double share = density * (double)values * (1.0 + 1e-12);
    uint32_t count = share < 1.0 ? 1 : (uint32_t)share;
    return count < values ? count : values;
}

// The coding for 16 or 32 bits; another number of bits ends `init` with an error.
static inline bool coding_of(uint32_t bits, types_value_coding_t *coding, types_policy_error_t *error) {
    if (bits != 16 && bits != 32) {
        char found[] = {'0' + bits / 10 % 10, '0' + bits % 10, 0};
        return bad_option(error, "bits", bits < 10 ? found + 1 : found, "16 or 32");
    }
    *coding = bits == 16 ? TYPES_VALUE_CODING_F16 : TYPES_VALUE_CODING_F32;
    return true;
}
