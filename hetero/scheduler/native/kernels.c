// The scheduler's inner loops. Each does exactly what its twin in Python does, operation by operation, so that both
// give the same bits: simulate.decode, costs.costs, memory.peak_memory, lists.schedule, ranks.by_ready, anneal.anneal.
//
// Compile without contraction of a * b + c (-ffp-contract=off) and without fast-math: both would round differently.
// Arrays are C-contiguous; indices int64, values double, flags uint8. Nothing here keeps state between calls.

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(_WIN32)
#define API __declspec(dllexport)
#else
#define API __attribute__((visibility("default")))
#endif

#ifndef SOURCE  // set by the build: what this file was when it was compiled
#define SOURCE "unknown"
#endif
#define NEVER (1.0 / 0.0)
#define GAPS 512

typedef int64_t I;
typedef double D;

typedef struct {  // hetero.scheduler.native.Problem has the same fields in the same order
    I n, count, queues, tensors, links, routes, grouped, timed, summed, memory, limited;
    const I *in_start, *in_tensor, *producer, *base, *out_start, *out_tensor, *consumer_start, *consumer;
    const I *route_start, *route_link, *link_source, *link_target, *link_queue, *group, *group_start, *group_member;
    const uint8_t *has_route;
    const D *tensor_byte, *seconds, *joules, *money, *resident, *s_per_byte, *latency, *tail, *shortest;
    const D *link_rate, *link_latency, *link_joule, *link_money;
    const D *memory_byte, *average_w, *static_each;
    D per_second, w_serial, w_throughput, w_energy, w_cost;
    D static_w, deadline_s, all_average_w, slack;
} Problem;

API const char *hetero_source(void) { return SOURCE; }

static D now(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (D)t.tv_sec + 1e-9 * (D)t.tv_nsec;
}

// -- idle gaps, of a link queue or a device -------------------------------------------------------------------------

typedef struct {
    D *start, *end, free;
    I size, room;
} Gaps;

static I reaching(const Gaps *g, D time)  // the first gap that ends at `time` or later
{
    I low = 0, high = g->size;
    while (low < high) {
        I mid = (low + high) / 2;
        if (g->end[mid] < time)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static int gap_insert(Gaps *g, I k, D start, D end)
{
    if (g->size == g->room) {
        I room = g->room ? 2 * g->room : 16;
        D *a = realloc(g->start, room * sizeof(D));
        if (!a)
            return 0;
        g->start = a;
        D *b = realloc(g->end, room * sizeof(D));
        if (!b)
            return 0;
        g->end = b;
        g->room = room;
    }
    memmove(g->start + k + 1, g->start + k, (g->size - k) * sizeof(D));
    memmove(g->end + k + 1, g->end + k, (g->size - k) * sizeof(D));
    g->start[k] = start;
    g->end[k] = end;
    g->size++;
    return 1;
}

static void gap_remove(Gaps *g, I k)
{
    g->size--;
    memmove(g->start + k, g->start + k + 1, (g->size - k) * sizeof(D));
    memmove(g->end + k, g->end + k + 1, (g->size - k) * sizeof(D));
}

static D gap_find(const Gaps *g, D ready, D length)
{
    if (ready >= g->free)
        return ready;
    for (I k = reaching(g, ready + length); k < g->size; k++) {
        D at = g->start[k] > ready ? g->start[k] : ready;
        if (at + length <= g->end[k])
            return at;
    }
    return g->free;
}

static D queue_take(Gaps *g, D ready, D length)  // simulate.Queue.take
{
    if (ready >= g->free) {
        if (ready > g->free)
            gap_insert(g, g->size, g->free, ready);
        g->free = ready + length;
        return ready;
    }
    for (I k = reaching(g, ready + length); k < g->size; k++) {
        D at = g->start[k] > ready ? g->start[k] : ready;
        D end = at + length;
        if (end <= g->end[k]) {
            int before = at > g->start[k], after = end < g->end[k];
            if (before && after) {
                D last = g->end[k];
                g->end[k] = at;
                gap_insert(g, k + 1, end, last);
            } else if (before) {
                g->end[k] = at;
            } else if (after) {
                g->start[k] = end;
            } else {
                gap_remove(g, k);
            }
            return at;
        }
    }
    D at = g->free;
    g->free = at + length;
    return at;
}

static void gap_keep(Gaps *g, I k, D start, D end, D least)  // lists.Gaps._keep
{
    if (end - start < least || end <= start)
        return;
    gap_insert(g, k, start, end);
    if (g->size > GAPS)
        gap_remove(g, 0);
}

static void device_take(Gaps *g, D at, D length, D least)  // lists.Gaps.take
{
    if (at >= g->free) {
        gap_keep(g, g->size, g->free, at, least);
        g->free = at + length;
        return;
    }
    I k = reaching(g, at + length);
    D start = g->start[k], end = g->end[k];
    gap_remove(g, k);
    gap_keep(g, k, at + length, end, least);
    gap_keep(g, k, start, at, least);
}

static void gaps_clear(Gaps *g, I number)
{
    for (I k = 0; k < number; k++) {
        g[k].size = 0;
        g[k].free = 0.0;
    }
}

static void gaps_free(Gaps *g, I number)
{
    if (g)
        for (I k = 0; k < number; k++) {
            free(g[k].start);
            free(g[k].end);
        }
    free(g);
}

// -- the simulator --------------------------------------------------------------------------------------------------

typedef struct {
    D *start, *finish, *free, *arrived;  // (n,), (n,), (P,), (T, P)
    I *cause, *last;                     // (n,) what a task waited for; (P,)
    Gaps *queue;                         // (Q,)
} Times;

static void times_free(const Problem *g, Times *t)
{
    free(t->start);
    free(t->finish);
    free(t->free);
    free(t->arrived);
    free(t->cause);
    free(t->last);
    gaps_free(t->queue, g->queues);
}

static int times_make(const Problem *g, Times *t)
{
    t->start = calloc(g->n + 1, sizeof(D));
    t->finish = calloc(g->n + 1, sizeof(D));
    t->free = calloc(g->count + 1, sizeof(D));
    t->arrived = malloc((g->tensors * g->count + 1) * sizeof(D));
    t->cause = calloc(g->n + 1, sizeof(I));
    t->last = calloc(g->count + 1, sizeof(I));
    t->queue = calloc(g->queues + 1, sizeof(Gaps));
    return t->start && t->finish && t->free && t->arrived && t->cause && t->last && t->queue;
}

typedef struct {  // every transfer, field by field; NULL where nobody asks
    I size, *tensor, *link, *to;
    D *start, *end, *arrival;
} Sends;

static D send(const Problem *g, const I *device, Times *t, Sends *sends, I tensor, I to)  // arrival, or -1: no way
{
    I home = device[g->producer[tensor]];
    I way = g->base[tensor] + home * g->count + to;
    if (!g->has_route[way])
        return -1.0;
    D at = t->finish[g->producer[tensor]];
    for (I k = g->route_start[way]; k < g->route_start[way + 1]; k++) {
        I link = g->route_link[k], q = g->link_queue[link];
        D length = g->tensor_byte[tensor] / g->link_rate[link];
        D begin = q >= 0 && length > 0 ? queue_take(&t->queue[q], at, length) : at;
        at = begin + length + g->link_latency[link];
        if (sends) {
            I s = sends->size++;
            sends->tensor[s] = tensor;
            sends->link[s] = link;
            sends->to[s] = to;
            sends->start[s] = begin;
            sends->end[s] = begin + length;
            sends->arrival[s] = at;
        }
    }
    t->arrived[tensor * g->count + to] = at;
    return at;
}

// The makespan; inf where a tensor has no way, or once a task finishes after `stop` or with a tail that ends after it.
static D decode(const Problem *g, const I *device, const I *order, Times *t, Sends *sends, const D *tail, D stop)
{
    D makespan = 0.0;
    I P = g->count;
    for (I p = 0; p < P; p++) {
        t->free[p] = 0.0;
        t->last[p] = -1;
    }
    for (I k = 0; k < g->tensors * P; k++)
        t->arrived[k] = -1.0;
    gaps_clear(t->queue, g->queues);
    for (I k = 0; k < g->n; k++) {
        I i = order[k], p = device[i], cause = t->last[p];
        D at = t->free[p];
        for (I e = g->in_start[i]; e < g->in_start[i + 1]; e++) {
            I tensor = g->in_tensor[e], source = g->producer[tensor];
            D there = device[source] == p ? t->finish[source] : t->arrived[tensor * P + p];
            if (there < 0 && (there = send(g, device, t, sends, tensor, p)) < 0)
                return NEVER;
            if (there > at) {
                at = there;
                cause = source;
            }
        }
        t->start[i] = at;
        at = at + g->seconds[i * P + p];
        t->finish[i] = t->free[p] = at;
        t->cause[i] = cause;
        t->last[p] = i;
        if (at > makespan)
            makespan = at;
        if ((tail ? at + tail[i * P + p] : at) > stop)
            return NEVER;
    }
    return makespan;
}

API D hetero_decode(const Problem *g, const I *device, const I *order, D stop, D *start, D *finish, I *sent, I *tensor,
                    I *link, I *to, D *send_start, D *send_end, D *send_arrival)
{
    Times t;
    Sends sends = {0, tensor, link, to, send_start, send_end, send_arrival};
    D makespan = -1.0;
    if (times_make(g, &t)) {
        makespan = decode(g, device, order, &t, tensor ? &sends : NULL, NULL, stop);
        memcpy(start, t.start, g->n * sizeof(D));
        memcpy(finish, t.finish, g->n * sizeof(D));
        *sent = sends.size;
    }
    times_free(g, &t);
    return makespan;
}

// -- list scheduling ------------------------------------------------------------------------------------------------

static int above(const D *priority, I a, I b)
{
    return priority[a] > priority[b] || (priority[a] == priority[b] && a < b);
}

API I hetero_by_ready(const Problem *g, const D *priority, I *order)  // ranks.by_ready
{
    I *heap = malloc((g->n + 1) * sizeof(I)), *waiting = malloc((g->n + 1) * sizeof(I)), size = 0, done = 0;
    if (!heap || !waiting) {
        free(heap);
        free(waiting);
        return -1;
    }
#define PUSH(task)                                                    \
    do {                                                              \
        I at_ = size++, task_ = (task);                               \
        while (at_ > 0 && above(priority, task_, heap[(at_ - 1) / 2])) { \
            heap[at_] = heap[(at_ - 1) / 2];                          \
            at_ = (at_ - 1) / 2;                                      \
        }                                                             \
        heap[at_] = task_;                                            \
    } while (0)
    for (I i = 0; i < g->n; i++) {
        waiting[i] = g->in_start[i + 1] - g->in_start[i];
        if (!waiting[i])
            PUSH(i);
    }
    while (size) {
        I i = heap[0], last = heap[--size], at = 0;
        for (;;) {
            I child = 2 * at + 1;
            if (child >= size)
                break;
            if (child + 1 < size && above(priority, heap[child + 1], heap[child]))
                child++;
            if (!above(priority, heap[child], last))
                break;
            heap[at] = heap[child];
            at = child;
        }
        heap[at] = last;
        order[done++] = i;
        for (I o = g->out_start[i]; o < g->out_start[i + 1]; o++) {
            I tensor = g->out_tensor[o];
            for (I e = g->consumer_start[tensor]; e < g->consumer_start[tensor + 1]; e++)
                if (!--waiting[g->consumer[e]])
                    PUSH(g->consumer[e]);
        }
    }
    free(heap);
    free(waiting);
    return done;
}

// ranks.tails: `mean` holds seconds of each reading (in the order of `consumer`), or is NULL for those of the real ways.
API I hetero_tails(const Problem *g, const I *order, const D *mean, D *tail)
{
    I P = g->count;
    D *after = malloc((P + 1) * sizeof(D));
    if (!after)
        return 0;
    for (I k = 0; k < g->n * P; k++)
        tail[k] = 0.0;
    for (I k = g->n - 1; k >= 0; k--) {
        I i = order[k];
        for (I o = g->out_start[i]; o < g->out_start[i + 1]; o++) {
            I t = g->out_tensor[o];
            for (I e = g->consumer_start[t]; e < g->consumer_start[t + 1]; e++) {
                I j = g->consumer[e];
                for (I q = 0; q < P; q++)
                    after[q] = tail[j * P + q] + g->seconds[j * P + q];
                for (I p = 0; p < P; p++) {
                    const D *rate = g->s_per_byte + g->base[t] + p * P, *latency = g->latency + g->base[t] + p * P;
                    D least = NEVER;
                    for (I q = 0; q < P; q++) {
                        D way = mean ? (p == q ? 0.0 : mean[e]) : g->tensor_byte[t] * rate[q] + latency[q];
                        if (after[q] + way < least)
                            least = after[q] + way;
                    }
                    if (least > tail[i * P + p])
                        tail[i * P + p] = least;
                }
            }
        }
    }
    free(after);
    return 1;
}

// 1 when all tasks are placed, 0 when one has nowhere to go or `room` is used up, -1 without memory.
API I hetero_list(const Problem *g, const I *order, const D *cost, I insertion, I contended, D sending,
                  const D *regret, D room, I *device, D *start)
{
    I P = g->count, result = -1;
    Times t;
    Gaps *idle = calloc(P + 1, sizeof(Gaps));
    D *ready = malloc((P + 1) * sizeof(D)), *at = malloc((P + 1) * sizeof(D)), *after = calloc(g->queues + 1, sizeof(D));
    I *forced = malloc((g->n + 1) * sizeof(I));
    int made = times_make(g, &t);
    if (!made || !idle || !ready || !at || !after || !forced)
        goto done;
    for (I k = 0; k < g->n; k++)
        forced[k] = -1;
    for (I k = 0; k < g->tensors * P; k++)
        t.arrived[k] = -1.0;
    result = 1;
    for (I k = 0; k < g->n; k++) {
        I i = order[k], best = -1, only = g->grouped ? forced[g->group[i]] : -1;
        D least = NEVER;
        if (!contended)
            for (I p = 0; p < P; p++)
                ready[p] = 0.0;
        for (I e = g->in_start[i]; !contended && e < g->in_start[i + 1]; e++) {
            const D *row = t.arrived + g->in_tensor[e] * P;
            for (I p = 0; p < P; p++)
                if (row[p] > ready[p])
                    ready[p] = row[p];
        }
        D made = 0.0;  // no start is earlier
        for (I e = g->in_start[i]; contended && e < g->in_start[i + 1]; e++)
            if (t.finish[g->producer[g->in_tensor[e]]] > made)
                made = t.finish[g->producer[g->in_tensor[e]]];
        for (I p = 0; p < P; p++) {
            D c = only >= 0 && only != p ? NEVER : cost[i * P + p], length = g->seconds[i * P + p];
            if (c == NEVER || made + c > least)
                continue;
            if (contended) {
                D busy = 0.0;
                ready[p] = 0.0;
                for (I q = 0; q < g->queues; q++)
                    after[q] = 0.0;
                for (I e = g->in_start[i]; e < g->in_start[i + 1]; e++) {
                    I tensor = g->in_tensor[e], source = g->producer[tensor], home = device[source];
                    D there = home == p ? t.finish[source] : t.arrived[tensor * P + p];
                    if (there < 0) {
                        I way = g->base[tensor] + home * P + p;
                        there = g->has_route[way] ? t.finish[source] : NEVER;
                        for (I r = g->route_start[way]; r < g->route_start[way + 1]; r++) {
                            I link = g->route_link[r], q = g->link_queue[link];
                            D takes = g->tensor_byte[tensor] / g->link_rate[link];
                            if (q >= 0 && takes > 0) {
                                there = gap_find(&t.queue[q], there > after[q] ? there : after[q], takes);
                                after[q] = there + takes;
                                busy = busy + takes;
                            }
                            there = there + takes + g->link_latency[link];
                        }
                    }
                    if (there > ready[p])
                        ready[p] = there;
                }
                c = c + sending * busy;
            }
            if (ready[p] == NEVER || ready[p] + c > least)
                continue;
            at[p] = insertion ? gap_find(&idle[p], ready[p], length) : ready[p] > idle[p].free ? ready[p] : idle[p].free;
            if (at[p] + c < least) {
                best = p;
                least = at[p] + c;
            }
        }
        if (best < 0 || (regret && (room = room - regret[i * P + best]) < 0)) {
            result = 0;
            goto done;
        }
        I p = best;
        D length = g->seconds[i * P + p], begin = at[p];
        if (g->grouped && only < 0)
            forced[g->group[i]] = p;
        if (contended) {
            D last = 0.0;
            for (I e = g->in_start[i]; e < g->in_start[i + 1]; e++) {
                I tensor = g->in_tensor[e], source = g->producer[tensor];
                D there = device[source] == p ? t.finish[source] : t.arrived[tensor * P + p];
                if (there < 0)
                    there = send(g, device, &t, NULL, tensor, p);
                if (there > last)
                    last = there;
            }
            begin = insertion ? gap_find(&idle[p], last, length) : last > idle[p].free ? last : idle[p].free;
        }
        device[i] = p;
        start[i] = begin;
        t.finish[i] = begin + length;
        if (insertion)
            device_take(&idle[p], begin, length, g->shortest[p]);
        else
            idle[p].free = begin + length;
        for (I o = g->out_start[i]; !contended && o < g->out_start[i + 1]; o++) {
            I tensor = g->out_tensor[o], from = g->base[tensor] + p * P;
            for (I q = 0; q < P; q++)
                t.arrived[tensor * P + q] =
                    t.finish[i] + (g->tensor_byte[tensor] * g->s_per_byte[from + q] + g->latency[from + q]);
        }
    }
done:
    times_free(g, &t);
    gaps_free(idle, P);
    free(ready);
    free(at);
    free(after);
    free(forced);
    return result;
}

// -- the value of a schedule: costs.costs, memory.peak_memory, limits.broken, judge.Judge.score ---------------------

typedef struct {
    D time;
    I tensor;
} Event;

static int by_time(const void *a, const void *b)
{
    const Event *x = a, *y = b;
    if (x->time != y->time)
        return x->time < y->time ? -1 : 1;
    return x->tensor < y->tensor ? -1 : x->tensor > y->tensor;
}

typedef struct {
    D *load, *dynamic, *money, *route_byte, *route_number, *link_byte, *queue;  // costs
    uint8_t *there;                                                             // (P,)
    D transfer_j, sum_dynamic;
    D *begin, *end, *weight, *live;  // memory: (T, P), (T, P), (P,), (P,)
    Event *event;                    // (2 T,)
    Sends sends;
} Sums;

static void sums_free(Sums *s)
{
    free(s->load);
    free(s->dynamic);
    free(s->money);
    free(s->route_byte);
    free(s->route_number);
    free(s->link_byte);
    free(s->queue);
    free(s->there);
    free(s->begin);
    free(s->end);
    free(s->weight);
    free(s->live);
    free(s->event);
    free(s->sends.tensor);
    free(s->sends.link);
    free(s->sends.to);
    free(s->sends.start);
    free(s->sends.end);
    free(s->sends.arrival);
}

static int sums_make(const Problem *g, Sums *s)
{
    I places = g->memory ? g->tensors * g->count + 1 : 1, hops = g->memory ? places * (g->links < g->count ? g->links + 1 : g->count) : 1;
    memset(s, 0, sizeof *s);
    s->load = malloc((g->count + 1) * sizeof(D));
    s->dynamic = malloc((g->count + 1) * sizeof(D));
    s->money = malloc((g->count + 1) * sizeof(D));
    s->route_byte = malloc((g->routes + 1) * sizeof(D));
    s->route_number = malloc((g->routes + 1) * sizeof(D));
    s->link_byte = malloc((g->links + 1) * sizeof(D));
    s->queue = malloc((g->queues + 1) * sizeof(D));
    s->there = malloc(g->count + 1);
    s->begin = malloc(places * sizeof(D));
    s->end = malloc(places * sizeof(D));
    s->weight = malloc((g->count + 1) * sizeof(D));
    s->live = malloc((g->count + 1) * sizeof(D));
    s->event = malloc((g->memory ? 2 * g->tensors + 1 : 1) * sizeof(Event));
    s->sends.tensor = malloc(hops * sizeof(I));
    s->sends.link = malloc(hops * sizeof(I));
    s->sends.to = malloc(hops * sizeof(I));
    s->sends.start = malloc(hops * sizeof(D));
    s->sends.end = malloc(hops * sizeof(D));
    s->sends.arrival = malloc(hops * sizeof(D));
    return s->load && s->dynamic && s->money && s->route_byte && s->route_number && s->link_byte && s->queue &&
           s->there && s->begin && s->end && s->weight && s->live && s->event && s->sends.tensor && s->sends.link &&
           s->sends.to && s->sends.start && s->sends.end && s->sends.arrival;
}

static D fixed_value(const Problem *g, const I *device, Sums *s)  // the part that no order changes
{
    I P = g->count;
    D seconds = 0.0, joules = 0.0, money = 0.0, period = 0.0, total = 0.0;
    for (I p = 0; p < P; p++)
        s->load[p] = s->dynamic[p] = s->money[p] = 0.0;
    for (I i = 0; i < g->n; i++) {
        I at = i * P + device[i];
        s->load[device[i]] += g->seconds[at];
        s->dynamic[device[i]] += g->joules[at];
        s->money[device[i]] += g->money[at];
    }
    for (I r = 0; r < g->routes; r++)
        s->route_byte[r] = s->route_number[r] = 0.0;
    for (I t = 0; t < g->tensors; t++) {
        I home = device[g->producer[t]];
        memset(s->there, 0, P);
        for (I e = g->consumer_start[t]; e < g->consumer_start[t + 1]; e++)
            s->there[device[g->consumer[e]]] = 1;
        for (I p = 0; p < P; p++)
            if (p != home && s->there[p]) {
                s->route_byte[g->base[t] + home * P + p] += g->tensor_byte[t];
                s->route_number[g->base[t] + home * P + p] += 1.0;
            }
    }
    s->sum_dynamic = 0.0;
    for (I p = 0; p < P; p++) {
        seconds += s->load[p];
        money += s->money[p];
        s->sum_dynamic += s->dynamic[p];
        if (s->load[p] > period)
            period = s->load[p];
    }
    for (I k = 0; k < g->links; k++)
        s->link_byte[k] = 0.0;
    for (I q = 0; q < g->queues; q++)
        s->queue[q] = 0.0;
    for (I r = 0; r < g->routes; r++)
        if (s->route_number[r] > 0)
            for (I k = g->route_start[r]; k < g->route_start[r + 1]; k++) {
                s->link_byte[g->route_link[k]] += s->route_byte[r];
                seconds += s->route_number[r] * g->link_latency[g->route_link[k]];
            }
    for (I k = 0; k < g->links; k++) {
        D takes = s->link_byte[k] / g->link_rate[k];
        seconds += takes;
        joules += s->link_byte[k] * g->link_joule[k];
        money += s->link_byte[k] * g->link_money[k];
        if (g->link_queue[k] >= 0)
            s->queue[g->link_queue[k]] += takes;
    }
    for (I q = 0; q < g->queues; q++)
        if (s->queue[q] > period)
            period = s->queue[q];
    s->transfer_j = joules;
    if (g->w_serial != 0)
        total += g->w_serial * seconds;
    if (g->w_throughput != 0)
        total += g->w_throughput * period;
    if (g->w_energy != 0)
        total += g->w_energy * (s->sum_dynamic + joules);
    if (g->w_cost != 0)
        total += g->w_cost * money;
    return total;
}

static D above_limit(const Problem *g, D found, D wanted)
{
    if (!(found > wanted * (1 + g->slack)))
        return 0.0;
    return wanted > 0 ? found / wanted - 1 : found;
}

static int memory_surely_fits(const Problem *g, const I *device, Sums *s)
{
    I P = g->count;
    for (I p = 0; p < P; p++)
        s->weight[p] = s->live[p] = 0.0;
    for (I i = 0; i < g->n; i++)
        s->weight[device[i]] += g->resident[i * P + device[i]];
    for (I t = 0; t < g->tensors; t++) {
        memset(s->there, 0, P);
        s->there[device[g->producer[t]]] = 1;
        for (I e = g->consumer_start[t]; e < g->consumer_start[t + 1]; e++)
            s->there[device[g->consumer[e]]] = 1;
        for (I p = 0; p < P; p++)
            if (s->there[p])
                s->live[p] += g->tensor_byte[t];
    }
    for (I p = 0; p < P; p++)
        if (!(s->weight[p] + s->live[p] <= g->memory_byte[p]))
            return 0;
    return 1;
}

static void live_ranges(const Problem *g, const I *device, const Times *t, Sums *s)
{
    I P = g->count;
    for (I k = 0; k < g->tensors * P; k++) {
        s->begin[k] = NEVER;
        s->end[k] = -NEVER;
    }
    for (I k = 0; k < g->tensors; k++) {
        I maker = g->producer[k], at = k * P + device[maker];
        s->begin[at] = t->start[maker];
        s->end[at] = g->consumer_start[k] == g->consumer_start[k + 1] ? NEVER : t->finish[maker];
        for (I e = g->consumer_start[k]; e < g->consumer_start[k + 1]; e++) {
            I reader = g->consumer[e], there = k * P + device[reader];
            if (t->finish[reader] > s->end[there])
                s->end[there] = t->finish[reader];
        }
    }
    for (I k = 0; k < s->sends.size; k++) {
        I tensor = s->sends.tensor[k], link = s->sends.link[k], home = device[g->producer[tensor]];
        if (g->link_source[link] == home && s->sends.end[k] > s->end[tensor * P + home])
            s->end[tensor * P + home] = s->sends.end[k];
        if (g->link_target[link] == s->sends.to[k])
            s->begin[tensor * P + s->sends.to[k]] = s->sends.start[k];
    }
}

static D peak(const Problem *g, I p, Sums *s)
{
    I size = 0, left = 0, P = g->count;
    Event *begins = s->event, *ends = s->event + g->tensors;
    D came = 0.0, gone = 0.0, most = 0.0;
    for (I k = 0; k < g->tensors; k++)
        if (s->begin[k * P + p] < NEVER) {
            begins[size] = (Event){s->begin[k * P + p], k};
            ends[size++] = (Event){s->end[k * P + p], k};
        }
    qsort(begins, size, sizeof(Event), by_time);
    qsort(ends, size, sizeof(Event), by_time);
    for (I k = 0; k < size; k++) {
        came += g->tensor_byte[begins[k].tensor];
        while (left < size && ends[left].time <= begins[k].time)
            gone += g->tensor_byte[ends[left++].tensor];
        if (came - gone > most)
            most = came - gone;
    }
    return most;
}

typedef struct {
    D excess, value;
} Score;

static int better(Score a, Score b) { return a.excess < b.excess || (a.excess == b.excess && a.value < b.value); }

static Score score(const Problem *g, const I *device, const I *order, Times *t, Sums *s, D stop)
{
    Score none = {NEVER, NEVER};
    D fixed = g->summed ? fixed_value(g, device, s) : 0.0, excess = 0.0;
    if (!g->timed)
        return (Score){0.0, fixed};
    D stop_s = g->per_second > 0 ? (stop - fixed) / g->per_second : NEVER;
    s->sends.size = 0;
    D makespan = decode(g, device, order, t, g->memory ? &s->sends : NULL, g->tail, stop_s);
    if (makespan == NEVER)
        return none;
    D value = fixed + g->per_second * makespan;
    if (!g->limited)
        return (Score){0.0, value};
    int exact = g->memory && !memory_surely_fits(g, device, s);
    if (exact)
        live_ranges(g, device, t, s);
    excess += above_limit(g, makespan, g->deadline_s);
    if (g->all_average_w < NEVER) {
        D joules = s->transfer_j;
        for (I p = 0; p < g->count; p++)
            joules += s->dynamic[p];
        excess += above_limit(g, g->static_w + (makespan > 0 ? joules / makespan : 0.0), g->all_average_w);
    }
    for (I p = 0; p < g->count; p++) {
        if (exact && g->memory_byte[p] < NEVER)
            excess += above_limit(g, s->weight[p] + peak(g, p, s), g->memory_byte[p]);
        if (g->average_w[p] < NEVER)
            excess += above_limit(g, g->static_each[p] + (makespan > 0 ? s->dynamic[p] / makespan : 0.0), g->average_w[p]);
    }
    return (Score){excess, value};
}

API I hetero_score(const Problem *g, const I *device, const I *order, D stop, D *excess, D *value)
{
    Times t;
    Sums s;
    int a = times_make(g, &t), b = sums_make(g, &s);
    if (a && b) {
        Score found = score(g, device, order, &t, &s, stop);
        *excess = found.excess;
        *value = found.value;
    }
    times_free(g, &t);
    sums_free(&s);
    return a && b;
}

// -- simulated annealing: anneal.anneal -----------------------------------------------------------------------------

typedef struct {  // hetero.scheduler.native.Anneal has the same fields in the same order
    I steps, seed, bits, span;
    D hot, cool, penalty, deadline;  // temperature, its factor each step, value of excess, time to stop at
    const D *logs;                   // (4096,) -ln of evenly spaced numbers
    const I *near_start, *near_split, *near;
    I done;       // out: steps made
    D excess, value;  // out: the best score
} Anneal;

typedef struct {
    const Problem *g;
    const Anneal *a;
    uint64_t state;
    I *device, *order, *place;
    I *old_task, *old_device, undo;     // what a move changed
    I old_from[2], old_to[2], shifts;
    I *mark, stamp, *front;
    I *critical, critical_size, dirty;
    I *saved, *merged, ranked;  // the order before a move that ranked all tasks
    D *rank;
} Search;

static uint64_t next(Search *s)  // splitmix64
{
    uint64_t z = (s->state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static I below(Search *s, I k) { return (I)(((next(s) >> 32) * (uint64_t)k) >> 32); }

static void put(Search *s, I task, I p)  // and all that it must stay with
{
    const Problem *g = s->g;
    I root = g->group[task], first = g->grouped ? g->group_start[root] : 0, last = g->grouped ? g->group_start[root + 1] : 1;
    for (I k = first; k < last; k++) {
        I i = g->grouped ? g->group_member[k] : task;
        if (s->device[i] == p)
            continue;
        s->old_task[s->undo] = i;
        s->old_device[s->undo++] = s->device[i];
        s->device[i] = p;
    }
}

static void shift(Search *s, I from, I to)
{
    I task = s->order[from];
    if (from < to)
        memmove(s->order + from, s->order + from + 1, (to - from) * sizeof(I));
    else
        memmove(s->order + to + 1, s->order + to, (from - to) * sizeof(I));
    s->order[to] = task;
    for (I k = from < to ? from : to; k <= (from < to ? to : from); k++)
        s->place[s->order[k]] = k;
}

static I shift_somewhere(Search *s, I i)
{
    const Anneal *a = s->a;
    I at = s->place[i], low = at - a->span, high = at + a->span, same = 0, to = -1;
    if (low < 0)
        low = 0;
    if (high > s->g->n - 1)
        high = s->g->n - 1;
    for (I k = a->near_start[i]; k < a->near_split[i]; k++)
        if (s->place[a->near[k]] >= low)
            low = s->place[a->near[k]] + 1;
    for (I k = a->near_split[i]; k < a->near_start[i + 1]; k++)
        if (s->place[a->near[k]] <= high)
            high = s->place[a->near[k]] - 1;
    if (low == high)
        return 0;
    for (I k = low; k <= high; k++)
        same += k != at && s->device[s->order[k]] == s->device[i];
    if (same && below(s, 4)) {
        I left = below(s, same);
        for (I k = low; k <= high; k++)
            if (k != at && s->device[s->order[k]] == s->device[i] && left-- == 0) {
                to = k;
                break;
            }
    } else {
        to = low + below(s, high - low);
        if (to >= at)
            to++;
    }
    shift(s, at, to);
    s->old_from[s->shifts] = at;
    s->old_to[s->shifts++] = to;
    return 1;
}

static I may(const Search *s, I i, I p) { return s->g->seconds[i * s->g->count + p] < NEVER; }

static I target(Search *s, I i)  // another device for a task: a neighbour's, or any
{
    const Anneal *a = s->a;
    I here = s->device[i], size = a->near_start[i + 1] - a->near_start[i], others = 0;
    if (below(s, 2) && size) {
        I p = s->device[a->near[a->near_start[i] + below(s, size)]];
        if (p != here && may(s, i, p))
            return p;
    }
    for (I p = 0; p < s->g->count; p++)
        others += p != here && may(s, i, p);
    if (!others)
        return -1;
    I left = below(s, others);
    for (I p = 0; p < s->g->count; p++)
        if (p != here && may(s, i, p) && left-- == 0)
            return p;
    return -1;
}

static I move_one(Search *s, I i)
{
    I p = target(s, i);
    if (p < 0)
        return 0;
    put(s, i, p);
    if (below(s, 2))
        shift_somewhere(s, i);
    return 1;
}

static I move_segment(Search *s, I i)
{
    const Anneal *a = s->a;
    I from = s->device[i], p = target(s, i);
    if (p < 0)
        return 0;
    I way = below(s, 3), most = 2 + below(s, (I)2 << below(s, a->bits)), size = 1;
    s->front[0] = i;
    s->mark[i] = ++s->stamp;
    for (I at = 0; at < size && size < most; at++) {
        I j = s->front[at];
        I first = way == 1 ? a->near_split[j] : a->near_start[j], last = way == 2 ? a->near_split[j] : a->near_start[j + 1];
        for (I k = first; k < last && size < most; k++) {
            I other = a->near[k];
            if (s->mark[other] != s->stamp && s->device[other] == from && may(s, other, p)) {
                s->mark[other] = s->stamp;
                s->front[size++] = other;
            }
        }
    }
    for (I k = 0; k < size; k++)
        put(s, s->front[k], p);
    return 1;
}

static I swap(Search *s, I i)
{
    I j = below(s, s->g->n), p = s->device[i], q = s->device[j];
    if (p == q || !may(s, i, q) || !may(s, j, p))
        return 0;
    put(s, i, q);
    put(s, j, p);
    return 1;
}

static void find_critical(Search *s, const Times *t)  // the chain that ends last, and what each waited for
{
    I at = 0;
    for (I i = 1; i < s->g->n; i++)
        if (t->finish[i] > t->finish[at])
            at = i;
    for (s->critical_size = 0; at >= 0; at = t->cause[at])
        s->critical[s->critical_size++] = at;
    s->dirty = 0;
}

static void sort_by_rank(const D *rank, I *a, I *half, I size)  // falling; stable
{
    if (size < 12) {
        for (I k = 1; k < size; k++) {
            I x = a[k], at = k;
            for (; at > 0 && rank[a[at - 1]] < rank[x]; at--)
                a[at] = a[at - 1];
            a[at] = x;
        }
        return;
    }
    I middle = size / 2, x = 0, y = middle, to = 0;
    sort_by_rank(rank, a, half, middle);
    sort_by_rank(rank, a + middle, half, size - middle);
    memcpy(half, a, middle * sizeof(I));
    while (x < middle && y < size)
        a[to++] = rank[a[y]] > rank[half[x]] ? a[y++] : half[x++];
    while (x < middle)
        a[to++] = half[x++];
}

static void rank_all(Search *s)  // order by what follows each task, on the devices of now
{
    const Problem *g = s->g;
    I n = g->n, P = g->count;
    memcpy(s->saved, s->order, n * sizeof(I));
    s->ranked = 1;
    for (I k = n - 1; k >= 0; k--) {
        I i = s->order[k], p = s->device[i];
        D longest = 0.0;
        for (I o = g->out_start[i]; o < g->out_start[i + 1]; o++) {
            I tensor = g->out_tensor[o], way = g->base[tensor] + p * P;
            for (I e = g->consumer_start[tensor]; e < g->consumer_start[tensor + 1]; e++) {
                I j = g->consumer[e], q = s->device[j];
                D takes = p == q ? 0.0 : g->tensor_byte[tensor] * g->s_per_byte[way + q] + g->latency[way + q];
                if (s->rank[j] + takes > longest)
                    longest = s->rank[j] + takes;
            }
        }
        s->rank[i] = g->seconds[i * P + p] + longest;
    }
    sort_by_rank(s->rank, s->order, s->merged, n);
    for (I k = 0; k < n; k++)
        s->place[s->order[k]] = k;
}

static I step(Search *s, const Times *t)
{
    I kind = s->g->timed ? below(s, 100) : 30 + below(s, 70), i;
    if (s->g->timed && below(s, 2)) {
        if (s->dirty)
            find_critical(s, t);
        i = s->critical[below(s, s->critical_size)];
    } else {
        i = below(s, s->g->n);
    }
    s->undo = s->shifts = s->ranked = 0;
    I moved = kind < 30   ? shift_somewhere(s, i)
              : kind < 65 ? move_one(s, i)
              : kind < 90 ? move_segment(s, i)
                          : swap(s, i);
    if (moved && s->g->timed && below(s, 10) == 0)
        rank_all(s);
    return moved;
}

static void revert(Search *s)
{
    if (s->ranked) {
        memcpy(s->order, s->saved, s->g->n * sizeof(I));
        for (I k = 0; k < s->g->n; k++)
            s->place[s->order[k]] = k;
    }
    while (s->shifts) {
        s->shifts--;
        shift(s, s->old_to[s->shifts], s->old_from[s->shifts]);
    }
    while (s->undo) {
        s->undo--;
        s->device[s->old_task[s->undo]] = s->old_device[s->undo];
    }
}

// `device` and `order` hold the start, and then the best that was found. 0 without memory.
API I hetero_anneal(const Problem *g, Anneal *a, I *device, I *order)
{
    I n = g->n, result = 0;
    Times now_t, new_t;
    Sums sums;
    Search s;
    memset(&s, 0, sizeof s);
    s.g = g;
    s.a = a;
    s.state = (uint64_t)a->seed;
    I *block = calloc(10 * n + 16, sizeof(I));
    s.rank = malloc((n + 1) * sizeof(D));
    int x = times_make(g, &now_t), y = times_make(g, &new_t), z = sums_make(g, &sums);
    if (!block || !s.rank || !x || !y || !z)
        goto done;
    s.device = block;
    s.order = block + n;
    s.place = block + 2 * n;
    s.old_task = block + 3 * n;   // a swap of two groups, or a segment: never more than n tasks, each once
    s.old_device = block + 4 * n + 2;
    s.mark = block + 5 * n + 4;
    s.front = block + 6 * n + 4;
    s.critical = block + 7 * n + 4;
    s.saved = block + 8 * n + 4;
    s.merged = block + 9 * n + 4;
    memcpy(s.device, device, n * sizeof(I));
    memcpy(s.order, order, n * sizeof(I));
    for (I k = 0; k < n; k++)
        s.place[order[k]] = k;
    Score best = score(g, device, order, &now_t, &sums, NEVER);
    D at = best.value + a->penalty * best.excess, heat = a->hot;
    if (best.excess == NEVER)
        goto done;
    s.dirty = 1;
    for (a->done = 0; a->done < a->steps; a->done++) {
        if ((a->done & 63) == 63 && now() > a->deadline)
            break;
        heat *= a->cool;
        if (!step(&s, &now_t))
            continue;
        D stop = at + heat * a->logs[next(&s) >> 52];
        Score found = score(g, s.device, s.order, &new_t, &sums, stop);
        D scalar = found.value + a->penalty * found.excess;
        if (!(scalar <= stop)) {
            revert(&s);
            continue;
        }
        at = scalar;
        s.dirty = 1;
        Times other = now_t;
        now_t = new_t;
        new_t = other;
        if (better(found, best)) {
            best = found;
            memcpy(device, s.device, n * sizeof(I));
            memcpy(order, s.order, n * sizeof(I));
        }
    }
    a->excess = best.excess;
    a->value = best.value;
    result = 1;
done:
    times_free(g, &now_t);
    times_free(g, &new_t);
    sums_free(&sums);
    free(block);
    free(s.rank);
    return result;
}
