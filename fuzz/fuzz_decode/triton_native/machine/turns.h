/* Turns of programs: one that jumps back very often may wait for another one, and makes way for it. Its frame is kept meanwhile. */
#ifndef TURNS_H
#define TURNS_H

#include "accesses.h"

enum { FIRST_TURN = 10000, LATER_TURNS = 1000 }; /* jumps backward */
enum { WINDOW = 16 };                            /* programs that are kept before those that have not started yet have to wait */
enum { SWITCHES = 4 };                           /* how many of its stores a program makes way before, if programs are interleaved */
enum { FINISHED, WAITS, STORES };

typedef struct kept_program {
    struct kept_program *later;
    int64_t program, next, switches;
    char memory[]; /* frame, shadow and flags */
} kept_program;

typedef struct {
    kept_program *first, **end;
    int64_t count;
} line;

/* Ends the running turn at instruction `next`. */
INLINE void make_way(machine *m, int64_t next, int why) { m->resumed_at = next, m->next = -1, m->turn = why; }

static void note_jump(machine *m, const instruction *i) {
    if (m->next <= i - m->code && --m->jumps_left <= 0) make_way(m, m->next, WAITS);
}

/* Whether there was memory for it */
static int keep_program(machine *m, line *waiting) {
    kept_program *kept = malloc(sizeof *kept + 2 * m->frame_bytes + m->flags_bytes);
    if (!kept) return 0;
    kept->later = NULL, kept->program = m->program, kept->next = m->resumed_at, kept->switches = m->switches_left;
    memcpy(kept->memory, m->frame, m->frame_bytes);
    memcpy(kept->memory + m->frame_bytes, m->shadow, m->frame_bytes);
    memcpy(kept->memory + 2 * m->frame_bytes, m->flags, m->flags_bytes);
    *waiting->end = kept;
    waiting->end = &kept->later;
    waiting->count++;
    return 1;
}

static void resume_program(machine *m, line *waiting) {
    kept_program *kept = waiting->first;
    waiting->first = kept->later;
    if (!--waiting->count) waiting->end = &waiting->first;
    m->program = kept->program, m->next = kept->next, m->switches_left = kept->switches;
    memcpy(m->frame, kept->memory, m->frame_bytes);
    memcpy(m->shadow, kept->memory + m->frame_bytes, m->frame_bytes);
    memcpy(m->flags, kept->memory + 2 * m->frame_bytes, m->flags_bytes);
    free(kept);
}

#endif
