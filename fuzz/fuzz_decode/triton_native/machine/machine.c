/* The machine's table of operations and its loop. */
#include "blocks.h"
#include "turns.h"

void own_shadow(machine *m, const instruction *i) { (void)m, (void)i; }

static void jump(machine *m, const instruction *i) {
    m->next = i->extra[0];
    note_jump(m, i);
}
static void jump_unless(machine *m, const instruction *i) {
    if (UNDEFINED(a) && SHADOW(i->a.offset, 1, 0)) note_undefined(m, i, USE_BRANCH, 0, SHADOW(i->a.offset, 1, 0));
    if (!*IN(i1, a)) m->next = i->extra[0];
}
static void finish(machine *m, const instruction *i) { (void)i, m->next = -1; }
static void assertion(machine *m, const instruction *i) {
    for (int64_t k = 0; k < COUNT; k++)
        if (!IN(i1, a)[k * i->a.column] && !m->report.assertion) m->report.assertion = 1 + (i - m->code);
}

/* Undefined lanes of an elementwise result: where an operand's are, unless the defined one decides. */

#define LANE(place, o) (i->o.offset >= 0 && m->flags[i->o.flag] ? SHADOW(i->o.offset, SIZE(place), at(&i->o, r, k)) : 0)
#define LANES either(LANE(1, a), LANE(2, b))
#define EACH_LANE(EXPRESSION)                                                                                                    \
    for (int64_t r = 0; r < i->rows; r++)                                                                                        \
        for (int64_t k = 0; k < i->columns; k++) SHADOW(i->out.offset, SIZE(0), r * i->columns + k) = (EXPRESSION);

static int64_t integer_at(const machine *m, const operand *o, int size, int64_t r, int64_t k) {
    const char *element = m->frame + o->offset + at(o, r, k) * size;
    int64_t value = 0;
    memcpy(&value, element, size);
    return value;
}
static int is_ones(int64_t value, int size, int bit) {
    return bit ? value == 1 : value == (size == 8 ? -1 : ((int64_t)1 << 8 * size) - 1);
}
#define IS(place, o, TEST) (!LANE(place, o) && (TEST(integer_at(m, &i->o, SIZE(place), r, k))))
#define ZERO(value) ((value) == 0)
#define FLOAT_ZERO(value) ((ui64)(value) << (SIZE(1) == 8 ? 1 : 33) == 0) /* of either sign; narrow floats are computed in float32 */
#define ONES(value) is_ones(value, SIZE(1), i->extra[0] == ONE_DECIDES)

static void shade(machine *m, const instruction *i) {
    if (i->extra[0] == NONE_DECIDES) EACH_LANE(either(LANES, LANE(3, c)))
    else if (i->extra[0] == FLOAT_ZERO_DECIDES)
        EACH_LANE(either(IS(1, a, FLOAT_ZERO) || IS(2, b, FLOAT_ZERO) ? 0 : LANES, LANE(3, c)))
    else if (i->extra[0] == ZERO_DECIDES) EACH_LANE(IS(1, a, ZERO) || IS(2, b, ZERO) ? 0 : LANES)
    else EACH_LANE(IS(1, a, ONES) || IS(2, b, ONES) ? 0 : LANES)
}
void shade_select(machine *m, const instruction *i) {
    EACH_LANE(either(LANE(1, a), integer_at(m, &i->a, 1, r, k) ? LANE(2, b) : LANE(3, c)))
}

static const operation control_operations[] = {{"jump", jump, own_shadow},
                                               {"jump_unless", jump_unless, own_shadow},
                                               {"finish", finish, own_shadow},
                                               {"assert", assertion, own_shadow},
                                               {NULL, NULL, NULL}};

/* Operation number `opcode` of all tables; one without a name after the last */
static const operation *operation_at(int32_t opcode) {
    const operation *tables[] = {control_operations, memory_operations, block_operations,
                                 atomic_operations,  fast_operations,   plain_operations};
    for (size_t k = 0; k < sizeof tables / sizeof *tables; k++)
        for (const operation *o = tables[k]; o->name; o++)
            if (opcode-- == 0) return o;
    return control_operations + sizeof control_operations / sizeof *control_operations - 1;
}
const char *machine_operation(int32_t opcode) { return operation_at(opcode)->name; }

enum { MOST_OPERATIONS = 1024 };
static const operation *by_opcode[MOST_OPERATIONS];
static i1 stores[MOST_OPERATIONS];
static void number_operations(void) {
    for (int32_t k = 0; k < MOST_OPERATIONS && operation_at(k)->name; k++) {
        by_opcode[k] = operation_at(k);
        stores[k] = !strncmp(by_opcode[k]->name, "store.", 6) || !strncmp(by_opcode[k]->name, "atomic.", 7);
    }
}

/* From m->next on, to the program's end or up to an instruction at which it makes way */
static void take_turn(machine *m) {
    const int64_t start = m->next;
    m->turn = FINISHED;
    while (m->next >= 0) {
        const instruction *i = m->code + m->next++;
        const operation *o = by_opcode[i->opcode];
        if (__builtin_expect(m->switches_left > 0, 0) && stores[i->opcode] && i - m->code != start) {
            m->switches_left--;
            make_way(m, i - m->code, STORES);
            return;
        }
        if (o->shade == own_shadow) {
            o->run(m, i);
            continue;
        }
        uint8_t undefined = UNDEFINED(a) | UNDEFINED(b) | UNDEFINED(c);
        m->flags[i->out.flag] = undefined;
        o->run(m, i);
        if (__builtin_expect(undefined, 0)) (o->shade ? o->shade : shade)(m, i);
    }
}

/* The frame begins with program ids and numbers of programs, six int32. */
static void start_program(machine *m, int64_t program) {
    int32_t *ids = (int32_t *)m->frame;
    m->program = program, m->next = 0, m->switches_left = m->interleaved ? SWITCHES : 0;
    ids[0] = (int32_t)(program % m->grid[0]);
    ids[1] = (int32_t)(program / m->grid[0] % m->grid[1]);
    ids[2] = (int32_t)(program / m->grid[0] / m->grid[1]);
    for (int axis = 0; axis < 3; axis++) ids[3 + axis] = m->grid[axis];
}

/* The seat of the running program joins those that wait, and an empty one becomes the running one's. Without memory for that, the
 * program goes on. */
static seat *change_seats(machine *m, seat *running, line *waiting, line *empty) {
    seat *other = empty->count ? take_first(empty) : new_seat(m);
    if (!other) return NULL;
    running->program = m->program, running->next = m->resumed_at, running->switches_left = m->switches_left;
    append(waiting, running);
    sit_down(m, other);
    return other;
}
static seat *resume_program(machine *m, seat *running, line *waiting, line *empty) {
    append(empty, running);
    running = take_first(waiting);
    m->program = running->program, m->next = running->next, m->switches_left = running->switches_left;
    sit_down(m, running);
    return running;
}

/* Runs the programs of a grid one after the other, as far as none makes way. Those that did go on once WINDOW of them wait, or
 * none is left to start; while the last one waits, further ones start: it may wait for one of them. */
void machine_run(machine *m) {
    if (!by_opcode[0]) number_operations();
    seat own = {m->frame, m->shadow, m->flags, 0, 0, 0, NULL, NULL}, *running = &own, *other;
    line waiting = {NULL, NULL, 0}, empty = {NULL, NULL, 0};
    m->turn = FINISHED;
    for (int64_t started = 0; started < m->programs || waiting.count;) {
        if (started < m->programs && (waiting.count < WINDOW || m->turn == WAITS)) {
            start_program(m, m->order ? m->order[started] : started);
            started++, m->jumps_left = FIRST_TURN;
        } else {
            running = resume_program(m, running, &waiting, &empty);
            m->jumps_left = LATER_TURNS;
        }
        for (;;) {
            take_turn(m);
            if (m->turn == FINISHED) break;
            if ((other = change_seats(m, running, &waiting, &empty))) {
                running = other;
                break;
            }
            m->next = m->resumed_at, m->jumps_left = FIRST_TURN;
        }
    }
    append(&empty, running);
    free_seats(&empty);
    sit_down(m, &own);
}

void machine_free(machine *m) { free(m->reads); }
