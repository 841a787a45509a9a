// The few functions of the C library that a policy needs, so that clang and wasm-ld are all that it takes and nothing but
// cellm:policy is imported. No files, no clock, no printf: a policy has none of these.
//
// Memory comes in blocks of 2^n bytes, n from 5: a freed block is handed out again for the same n. Simple, no search, at
// most twice what was asked for.

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 65536
#define HEAD 16

extern uint8_t __heap_base;

static uint8_t *top;          // first byte never handed out
static uint8_t *freed[32];    // by n: a list whose links stand in the blocks

static uint8_t *fresh(size_t size) {
    if (!top) {
        top = (uint8_t *)(((uintptr_t)&__heap_base + HEAD - 1) & ~(uintptr_t)(HEAD - 1));
    }
    size_t have = __builtin_wasm_memory_size(0) * (size_t)PAGE - (size_t)top;
    if (size > have) {
        size_t pages = (size - have + PAGE - 1) / PAGE;
        if (__builtin_wasm_memory_grow(0, pages) == (size_t)-1) {
            return NULL;
        }
    }
    uint8_t *block = top;
    top += size;
    return block;
}

void *malloc(size_t size) {
    if (size > (1u << 30) - HEAD) {
        return NULL;
    }
    uint32_t n = 5;
    while (((size_t)1 << n) < size + HEAD) {
        n++;
    }
    uint8_t *block = freed[n];
    if (block) {
        freed[n] = *(uint8_t **)(block + HEAD);
    } else {
        block = fresh((size_t)1 << n);
        if (!block) {
            return NULL;
        }
    }
    *(uint32_t *)block = n;
    return block + HEAD;
}

void free(void *pointer) {
    if (!pointer) {
        return;
    }
    uint8_t *block = (uint8_t *)pointer - HEAD;
    uint32_t n = *(uint32_t *)block;
    *(uint8_t **)(block + HEAD) = freed[n];
    freed[n] = block;
}

void *realloc(void *pointer, size_t size) {
    if (!pointer) {
        return malloc(size);
    }
    size_t have = ((size_t)1 << *(uint32_t *)((uint8_t *)pointer - HEAD)) - HEAD;
    if (size <= have) {
        return pointer;
    }
    void *moved = malloc(size);
    if (moved) {
        memcpy(moved, pointer, have);
        free(pointer);
    }
    return moved;
}

void *calloc(size_t count, size_t size) {
    size_t total;
    if (__builtin_mul_overflow(count, size, &total)) {
        return NULL;
    }
    void *block = malloc(total);
    if (block) {
        memset(block, 0, total);
    }
    return block;
}

_Noreturn void abort(void) { __builtin_trap(); }

// With -mbulk-memory these three are one instruction each.
void *memcpy(void *restrict to, const void *restrict from, size_t count) { return __builtin_memcpy(to, from, count); }

void *memmove(void *to, const void *from, size_t count) { return __builtin_memmove(to, from, count); }

void *memset(void *at, int byte, size_t count) { return __builtin_memset(at, byte, count); }

int memcmp(const void *left, const void *right, size_t count) {
    const uint8_t *a = left, *b = right;
    for (size_t i = 0; i < count; i++) {
        if (a[i] != b[i]) {
            return a[i] - b[i];
        }
    }
    return 0;
}

size_t strlen(const char *text) {
    size_t length = 0;
    while (text[length]) {
        length++;
    }
    return length;
}

int strcmp(const char *left, const char *right) {
    while (*left && *left == *right) {
        left++;
        right++;
    }
    return (uint8_t)*left - (uint8_t)*right;
}
