/* Turns of programs: one that jumps back very often may wait for another one, and makes way for it. */
#ifndef TURNS_H
#define TURNS_H

#include "accesses.h"

enum { FIRST_TURN = 10000, LATER_TURNS = 1000 }; /* jumps backward */
enum { WINDOW = 4 };                             /* programs that wait before the next one is not started, unless the last one may wait for it */
enum { SWITCHES = 4 };                           /* how many of its stores a program makes way before, if programs are interleaved */
enum { FINISHED, WAITS, STORES };

/* A frame, and the program in it */
typedef struct seat {
    char *frame, *shadow;
    uint8_t *flags;
    int64_t program, next, switches_left;
    struct seat *later;
    void *memory; /* malloc'ed; NULL: the frame is the machine's own */
} seat;

typedef struct {
    seat *first, **end;
    int64_t count;
} line;

static void append(line *l, seat *s) {
    s->later = NULL;
    *(l->count++ ? l->end : &l->first) = s;
    l->end = &s->later;
}
static seat *take_first(line *l) {
    seat *s = l->first;
    l->first = s->later, l->count--;
    return s;
}

/* Ends the running turn at instruction `next`. */
INLINE void make_way(machine *m, int64_t next, int why) { m->resumed_at = next, m->next = -1, m->turn = why; }

static void note_jump(machine *m, const instruction *i) {
    if (m->next <= i - m->code && --m->jumps_left <= 0) make_way(m, m->next, WAITS);
}

static void sit_down(machine *m, const seat *s) { m->frame = s->frame, m->shadow = s->shadow, m->flags = s->flags; }

/* Another frame with the constants and parameters of the running one; NULL: there is no memory for it */
static seat *new_seat(const machine *m) {
    enum { ALIGNMENT = 64 };
    const int64_t frame_bytes = (m->frame_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    char *memory = malloc(2 * frame_bytes + m->flags_bytes + ALIGNMENT);
    seat *s = malloc(sizeof *s);
    if (!memory || !s) {
        free(memory), free(s);
        return NULL;
    }
    char *frame = memory + ALIGNMENT - (uintptr_t)memory % ALIGNMENT;
    *s = (seat){frame, frame + frame_bytes, (uint8_t *)frame + 2 * frame_bytes, 0, 0, 0, NULL, memory};
    memcpy(s->frame, m->frame, m->frame_bytes);
    memcpy(s->flags, m->flags, m->flags_bytes);
    return s;
}
static void free_seats(line *l) {
    while (l->count) {
        seat *s = take_first(l);
        free(s->memory);
        if (s->memory) free(s);
    }
}

#endif
