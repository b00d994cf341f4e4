/* A register machine whose registers are blocks of elements.
 *
 * An instruction has a result and up to three operands. A block's element (row, column) of a result of rows x columns lies at
 * row * operand.row + column * operand.column of the operand, in elements; column is 0 or 1. So a scalar (0, 0), a dense block
 * (columns, 1), a row (0, 1) and a column (1, 0) that stand for a whole block need no copy.
 *
 * Every block has a flag, set while lanes of it are undefined (masked lanes of a load without `other`). Only then is there a shadow:
 * a byte for each element, at the element's own offset in a second frame. Flag 0 belongs to no block and stays 0.
 */
#ifndef MACHINE_H
#define MACHINE_H

#include <stdint.h>
#include <string.h>

typedef struct {
    int32_t offset; /* in bytes from the frame's start; negative: there is no such operand */
    int32_t flag;
    int32_t row, column;
} operand;

typedef struct {
    int32_t opcode;
    int32_t size; /* bytes of an element: result, a, b, c from the lowest byte on */
    int32_t rows, columns;
    operand out, a, b, c;
    int32_t extra[4];
} instruction;

/* A byte of the shadow: 0 where the element is defined, MASKED_LANE, or UNWRITTEN + the number of a storage that was not written */
enum { MASKED_LANE = 1, UNWRITTEN, LAST_UNWRITTEN = 255 };
/* extra[0] of an elementwise operation: which defined operand makes its result defined */
enum { NONE_DECIDES, ZERO_DECIDES, ONES_DECIDE, ONE_DECIDES, FLOAT_ZERO_DECIDES };
enum { USE_STORE, USE_ADDRESS, USE_MASK, USE_BRANCH };
enum { ADDRESS_BITS = 48 }; /* above them, a pointer has the number of the tensor argument that it was made from */

/* Memory that the target allocated during the call: see unwritten.h */
typedef struct {
    uint8_t *marks; /* one for each byte; NULL: all are written */
    int64_t fill;   /* what every byte held at first */
    int64_t mark, program, instruction; /* of the first load of something that is not written */
} allocation;

enum { MOST_USES = 8 };
typedef struct {
    int64_t outside_elements; /* accesses outside of their storage */
    int64_t outside_pointer, outside_program, outside_instruction, outside_size, outside_stored; /* the first of them */
    int64_t undefined_elements; /* uses of undefined values */
    int64_t undefined_uses;     /* how many of these there are: the first of each kind with each tensor */
    struct { int64_t use, pointer, program, instruction, origin; } undefined[MOST_USES]; /* origin: the shadow's byte */
    int64_t assertion; /* 1 + the instruction of the first assertion that failed */
} report;

typedef struct {
    const instruction *code;
    const int32_t *tables; /* shapes and strides */
    char *frame, *shadow;
    uint8_t *flags;
    const int64_t *starts, *ends; /* storages of the tensor arguments by their numbers from 1 on, then further ones */
    allocation *allocations; /* by the number of their storage; NULL: there are none */
    int64_t tensors, storages; /* how many have a number, and how many there are with the further ones; entry 0 is unused */
    const int64_t *order; /* numbers of programs */
    int64_t programs;
    int32_t grid[3];
    int32_t keep_reads;
    int64_t *reads; /* addresses, malloc'ed */
    int64_t reads_count, reads_capacity;
    report report;
    char *scratch; /* for operands of a dot in float32 */
    int64_t program; /* the running one */
    int64_t next; /* instruction to go on with */
    int64_t recent_start, recent_bytes; /* the storage that was accessed last, with its number in the upper bits */
    int64_t frame_bytes, flags_bytes;
    int64_t interleaved; /* whether programs make way for others before their first stores */
    int64_t turn, resumed_at, jumps_left, switches_left; /* of the running program; see turns.h */
} machine;

typedef void handler(machine *, const instruction *);

typedef struct {
    const char *name;
    handler *run;
    handler *shade; /* sets the result's shadow if an operand has undefined lanes; NULL: as of an elementwise operation */
} operation;
extern const operation atomic_operations[], fast_operations[], plain_operations[]; /* up to one without a name */

/* The shadows of operations that are not like the others; own_shadow: the operation itself sets its result's flag and shadow */
handler own_shadow, shade_select;

#define INLINE static inline __attribute__((always_inline, unused))
#define OUT(T) ((T *)(m->frame + i->out.offset))
#define IN(T, x) ((const T *)(m->frame + i->x.offset))
#define HAS(x) (i->x.offset >= 0)
#define UNDEFINED(x) (m->flags[i->x.flag])
#define COUNT ((int64_t)i->rows * i->columns)
#define SIZE(place) ((i->size >> 8 * (place)) & 255)

/* The shadow's byte of element k of a block at `offset` */
#define SHADOW(offset, size, k) (((uint8_t *)m->shadow)[(int64_t)(offset) + (int64_t)(k) * (size)])
/* That of a result of two lanes: of the one that is undefined */
INLINE uint8_t either(uint8_t a, uint8_t b) { return a > b ? a : b; }

INLINE int64_t at(const operand *o, int64_t row, int64_t column) { return row * o->row + column * o->column; }

#endif
