/* Atomic operations. Programs run one after the other, so that plain reads and writes are enough. */
#include "unwritten.h"

static int is_reached(machine *m, const instruction *i, int64_t pointer, int64_t size) {
    int inside = is_inside(m, pointer, size);
    if (!inside) note_outside(m, i, pointer, size, 1);
    return inside;
}

/* Whether the new value depends on an old one that is not written. `and` and `or` can set all bits. */
enum { KEEPS_add = 1, KEEPS_fadd = 1, KEEPS_xor = 1, KEEPS_max = 1, KEEPS_min = 1, KEEPS_umax = 1, KEEPS_umin = 1 };
enum { KEEPS_exch = 0, KEEPS_and = 0, KEEPS_or = 0 };

/* out = old values; a: pointers, b: operands, c: mask, if there is one */
#define DEFINE_ATOMIC(NAME, T, VALUE, GET, PUT, EXPRESSION)                                                                      \
    static void atomic_##NAME##_##T(machine *m, const instruction *i) {                                                          \
        T *restrict out = OUT(T);                                                                                                \
        const T *values = IN(T, b);                                                                                              \
        int64_t step = i->b.column;                                                                                              \
        access x = begin_access(m, i, &i->c, 3, sizeof(T), 1);                                                                   \
        m->flags[i->out.flag] = x.none || x.mask;                                                                                \
        if (m->flags[i->out.flag])                                                                                               \
            for (int64_t k = 0; k < x.count; k++) SHADOW(i->out.offset, sizeof(T), k) = x.none || x.mask[k] == 0;                \
        for (int64_t k = 0; k < x.count; k++) {                                                                                  \
            T old = 0, new;                                                                                                      \
            if (!x.none && !MASKED(k)) {                                                                                         \
                const uint8_t origin = is_undefined(m, i, &i->b, 2, k);                                                          \
                if (origin) note_undefined(m, i, USE_STORE, x.pointers[k], origin);                                              \
                if (is_reached(m, i, x.pointers[k], sizeof(T))) {                                                                \
                    if (m->allocations) mark_updated(m, i, k, x.pointers[k], sizeof(T), KEEPS_##NAME, origin);                   \
                    memcpy(&old, address(x.pointers[k]), sizeof(T));                                                             \
                    const VALUE a = GET(old), b = GET(values[k * step]);                                                         \
                    (void)a, (void)b;                                                                                            \
                    new = (T)PUT(EXPRESSION);                                                                                    \
                    memcpy(address(x.pointers[k]), &new, sizeof(T));                                                             \
                }                                                                                                                \
            }                                                                                                                    \
            out[k] = old;                                                                                                        \
        }                                                                                                                        \
    }
#define INTEGER_ATOMICS(X, T)                                                                                                    \
    X(and, T, a &b) X(or, T, a | b) X(xor, T, a ^ b) X(add, T, (u##T)a + (u##T)b) X(exch, T, b)                                  \
    X(max, T, a > b ? a : b) X(min, T, a < b ? a : b) X(umax, T, (u##T)a > (u##T)b ? a : b) X(umin, T, (u##T)a < (u##T)b ? a : b)
#define VALUE_f16 float
#define VALUE_bf16 float
#define VALUE_f32 float
#define VALUE_f64 double
#define EACH_ATOMIC_FLOAT(DO, X) DO(X, f16) DO(X, bf16) DO(X, f32) DO(X, f64)
#define FLOAT_ATOMICS(X, T) X(fadd, T, a + b) X(exch, T, b)
#define DEFINE_INTEGER_ATOMIC(NAME, T, EXPRESSION) DEFINE_ATOMIC(NAME, T, T, , , EXPRESSION)
#define DEFINE_FLOAT_ATOMIC(NAME, T, EXPRESSION) DEFINE_ATOMIC(NAME, T, VALUE_##T, wide_##T, narrow_##T, EXPRESSION)
#define EACH_ATOMIC_INTEGER(DO, X) DO(X, i16) DO(X, i32) DO(X, i64)
EACH_ATOMIC_INTEGER(INTEGER_ATOMICS, DEFINE_INTEGER_ATOMIC)
EACH_ATOMIC_FLOAT(FLOAT_ATOMICS, DEFINE_FLOAT_ATOMIC)

/* out = old values; a: pointers, b: what is expected, c: what is stored if it is found */
#define DEFINE_EXCHANGE(T)                                                                                                       \
    static void atomic_cas_##T(machine *m, const instruction *i) {                                                               \
        static const operand no_mask = {-1, 0, 0, 0};                                                                            \
        T *restrict out = OUT(T);                                                                                                \
        access x = begin_access(m, i, &no_mask, 0, sizeof(T), 1);                                                                \
        m->flags[i->out.flag] = 0;                                                                                               \
        for (int64_t k = 0; k < x.count; k++) {                                                                                  \
            T old = 0;                                                                                                           \
            const uint8_t origin = either(is_undefined(m, i, &i->b, 2, k), is_undefined(m, i, &i->c, 3, k));                     \
            if (origin) note_undefined(m, i, USE_STORE, x.pointers[k], origin);                                                  \
            if (is_reached(m, i, x.pointers[k], sizeof(T))) {                                                                    \
                if (m->allocations) mark_updated(m, i, k, x.pointers[k], sizeof(T), 1, origin);                                  \
                memcpy(&old, address(x.pointers[k]), sizeof(T));                                                                 \
                if (old == IN(T, b)[k * i->b.column]) memcpy(address(x.pointers[k]), IN(T, c) + k * i->c.column, sizeof(T));     \
            }                                                                                                                    \
            out[k] = old;                                                                                                        \
        }                                                                                                                        \
    }
DEFINE_EXCHANGE(i16)
DEFINE_EXCHANGE(i32)
DEFINE_EXCHANGE(i64)

#define ROW_ATOMIC(NAME, T, EXPRESSION) {"atomic." #NAME "." #T, atomic_##NAME##_##T, own_shadow},
#define ROW_EXCHANGE(T) {"atomic.cas." #T, atomic_cas_##T, own_shadow},
const operation atomic_operations[] = {
    EACH_ATOMIC_INTEGER(INTEGER_ATOMICS, ROW_ATOMIC) EACH_ATOMIC_FLOAT(FLOAT_ATOMICS, ROW_ATOMIC)
    ROW_EXCHANGE(i16) ROW_EXCHANGE(i32) ROW_EXCHANGE(i64) {NULL, NULL, NULL}};
