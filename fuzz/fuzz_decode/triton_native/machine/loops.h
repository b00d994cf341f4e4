/* Loops of elementwise operations over the rows and columns of a result. */
#ifndef LOOPS_H
#define LOOPS_H

#include "floats.h"

/* Loops. GET makes the value of an expression's variable of what is stored, PUT what is stored of a result. */

#define MAP1(NAME, RESULT, PUT, A, VALUE, GET, EXPRESSION)                                                                       \
    static void NAME(machine *m, const instruction *i) {                                                                         \
        RESULT *restrict out = OUT(RESULT);                                                                                      \
        const A *restrict pa = IN(A, a);                                                                                         \
        int64_t count = COUNT;                                                                                                   \
        for (int64_t k = 0; k < count; k++) {                                                                                    \
            const VALUE a = GET(pa[k]);                                                                                          \
            out[k] = (RESULT)PUT(EXPRESSION);                                                                                    \
        }                                                                                                                        \
    }

/* `restrict` alone does not spare the compilers a check for overlap */
#if defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif
#define FOR_COLUMNS INDEPENDENT for (int32_t k = 0; k < columns; k++)

#define MAP2(NAME, RESULT, PUT, A, B, VALUE, GET, EXPRESSION)                                                                    \
    static void NAME(machine *m, const instruction *i) {                                                                         \
        const int32_t columns = i->columns;                                                                                      \
        for (int64_t r = 0; r < i->rows; r++) {                                                                                  \
            RESULT *restrict out = OUT(RESULT) + r * columns;                                                                    \
            const A *restrict pa = IN(A, a) + r * i->a.row;                                                                      \
            const B *restrict pb = IN(B, b) + r * i->b.row;                                                                      \
            if (i->a.column && i->b.column) FOR_COLUMNS {                                                                        \
                const VALUE a = GET(pa[k]), b = GET(pb[k]);                                                                      \
                (void)b;                                                                                                         \
                out[k] = (RESULT)PUT(EXPRESSION);                                                                                \
            } else if (i->a.column) {                                                                                            \
                const VALUE b = GET(pb[0]);                                                                                      \
                (void)b;                                                                                                         \
                FOR_COLUMNS {                                                                                                    \
                    const VALUE a = GET(pa[k]);                                                                                  \
                    out[k] = (RESULT)PUT(EXPRESSION);                                                                            \
                }                                                                                                                \
            } else {                                                                                                             \
                const VALUE a = GET(pa[0]);                                                                                      \
                FOR_COLUMNS {                                                                                                    \
                    const VALUE b = GET(pb[k]);                                                                                  \
                    (void)b;                                                                                                     \
                    out[k] = (RESULT)PUT(EXPRESSION);                                                                            \
                }                                                                                                                \
            }                                                                                                                    \
        }                                                                                                                        \
    }

/* Any steps, for what is rare */
#define PLAIN2(NAME, RESULT, PUT, A, B, VALUE, GET, EXPRESSION)                                                                  \
    static void NAME(machine *m, const instruction *i) {                                                                         \
        for (int64_t r = 0; r < i->rows; r++)                                                                                    \
            for (int64_t k = 0; k < i->columns; k++) {                                                                           \
                const VALUE a = GET(IN(A, a)[at(&i->a, r, k)]), b = GET(IN(B, b)[at(&i->b, r, k)]);                              \
                (void)b;                                                                                                         \
                OUT(RESULT)[r * i->columns + k] = (RESULT)PUT(EXPRESSION);                                                       \
            }                                                                                                                    \
    }

#define PLAIN3(NAME, T, PUT, A, VALUE_A, GET_A, VALUE, GET, EXPRESSION)                                                          \
    static void NAME(machine *m, const instruction *i) {                                                                         \
        for (int64_t r = 0; r < i->rows; r++)                                                                                    \
            for (int64_t k = 0; k < i->columns; k++) {                                                                           \
                const VALUE_A a = GET_A(IN(A, a)[at(&i->a, r, k)]);                                                              \
                const VALUE b = GET(IN(T, b)[at(&i->b, r, k)]), c = GET(IN(T, c)[at(&i->c, r, k)]);                              \
                OUT(T)[r * i->columns + k] = (T)PUT(EXPRESSION);                                                                 \
            }                                                                                                                    \
    }

#define MAP3(NAME, T, PUT, A, VALUE_A, GET_A, VALUE, GET, EXPRESSION)                                                           \
    static void NAME(machine *m, const instruction *i) {                                                                        \
        const int32_t columns = i->columns, step_a = i->a.column, step_b = i->b.column, step_c = i->c.column;                   \
        for (int64_t r = 0; r < i->rows; r++) {                                                                                 \
            T *restrict out = OUT(T) + r * columns;                                                                             \
            const A *restrict pa = IN(A, a) + r * i->a.row;                                                                     \
            const T *restrict pb = IN(T, b) + r * i->b.row, *restrict pc = IN(T, c) + r * i->c.row;                             \
            if (step_a && step_b && step_c) {                                                                                   \
                FOR_COLUMNS {                                                                                                   \
                    const VALUE_A a = GET_A(pa[k]);                                                                             \
                    const VALUE b = GET(pb[k]), c = GET(pc[k]);                                                                 \
                    out[k] = (T)PUT(EXPRESSION);                                                                                \
                }                                                                                                               \
            } else if (step_a && step_b) {                                                                                      \
                const VALUE c = GET(pc[0]);                                                                                     \
                FOR_COLUMNS {                                                                                                   \
                    const VALUE_A a = GET_A(pa[k]);                                                                             \
                    const VALUE b = GET(pb[k]);                                                                                 \
                    out[k] = (T)PUT(EXPRESSION);                                                                                \
                }                                                                                                               \
            } else if (step_a && step_c) {                                                                                      \
                const VALUE b = GET(pb[0]);                                                                                     \
                FOR_COLUMNS {                                                                                                   \
                    const VALUE_A a = GET_A(pa[k]);                                                                             \
                    const VALUE c = GET(pc[k]);                                                                                 \
                    out[k] = (T)PUT(EXPRESSION);                                                                                \
                }                                                                                                               \
            } else {                                                                                                            \
                FOR_COLUMNS {                                                                                                   \
                    const VALUE_A a = GET_A(pa[k * step_a]);                                                                    \
                    const VALUE b = GET(pb[k * step_b]), c = GET(pc[k * step_c]);                                               \
                    out[k] = (T)PUT(EXPRESSION);                                                                                \
                }                                                                                                               \
            }                                                                                                                   \
        }                                                                                                                       \
    }

#endif
