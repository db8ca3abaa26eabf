// The minimum cut of mincut.minimum_cut, with capacities as they are: no rounding to integers.
//
// Two trees grow, from the source and from the sink; where they meet, flow is pushed along the path, and what hung on
// arcs that are now full looks for another parent. The trees stay from one path to the next. Each push takes the least
// of what is left on its path away from it, so that this arc is left with exactly nothing, and the search ends.
//
// Source: Boykov and Kolmogorov, IEEE TPAMI 2004, with the distances and marks of their section 3.2.3.

#include <stdint.h>
#include <stdlib.h>

#if defined(_WIN32)
#define API __declspec(dllexport)
#else
#define API __attribute__((visibility("default")))
#endif

typedef int64_t I;
typedef double D;

enum { FREE, SOURCE_TREE, SINK_TREE };
#define NO_PARENT (-1)
#define TERMINAL (-2)
#define ORPHAN (-3)
#define FAR INT64_MAX

typedef struct {
    I n, time, first, last, orphans, front;  // active nodes: a ring from `first`; orphans: a stack and a queue behind it
    I *start, *out;                          // (n + 1,), (2 m,) arcs that leave each node
    I *head;                                 // (2 m,) where each arc ends; arc a ^ 1 goes back
    D *rest;                                 // (2 m,) what may still flow
    D *end;                                  // (n,) from the source, or negative: to the sink
    uint8_t *tree, *waits;                   // (n,) which tree; whether among the active
    I *parent, *mark, *distance, *next, *queue;
    I *tried;  // (n,) where in its arcs each node looks first for a parent
    I at;      // how far the node that grows has come in its arcs
} Cut;

static void activate(Cut *c, I i)
{
    if (c->waits[i])
        return;
    c->waits[i] = 1;
    c->next[i] = -1;
    if (c->last >= 0)
        c->next[c->last] = i;
    else
        c->first = i;
    c->last = i;
}

static I next_active(Cut *c)  // of those that are still in a tree; -1: none
{
    while (c->first >= 0) {
        I i = c->first;
        c->first = c->next[i];
        if (c->first < 0)
            c->last = -1;
        c->waits[i] = 0;
        if (c->tree[i] != FREE)
            return i;
    }
    return -1;
}

static void orphan(Cut *c, I i)  // each node waits at most once, so a ring of n + 1 places is enough
{
    c->parent[i] = ORPHAN;
    c->queue[(c->front + c->orphans++) % (c->n + 1)] = i;
}

// What may flow along the tree through arc a of node i, towards i's neighbour or from it.
static D along(const Cut *c, int tree, I a) { return c->rest[tree == SOURCE_TREE ? a : a ^ 1]; }

// From arc `at` on: what was looked at before stays so while the node stays in its tree, and whoever becomes free next to
// it makes it active once more. Else a node with very many neighbours would look at all of them for each path.
static I grow(Cut *c, I i)  // an arc from the source's tree to the sink's, or -1
{
    int mine = c->tree[i];
    for (; c->at < c->start[i + 1]; c->at++) {
        I a = c->out[c->at], j = c->head[a];
        if (along(c, mine, a) <= 0)
            continue;
        if (c->tree[j] == FREE) {
            c->tree[j] = mine;
            activate(c, j);
        } else if (c->tree[j] != mine) {
            return mine == SOURCE_TREE ? a : a ^ 1;
        } else if (c->mark[j] > c->mark[i] || c->distance[j] <= c->distance[i]) {
            continue;  // it is as near to its end as it would be behind i
        }
        c->parent[j] = a ^ 1;
        c->mark[j] = c->mark[i];
        c->distance[j] = c->distance[i] + 1;
    }
    return -1;
}

static I root(const Cut *c, I i, D *least)  // and the least that may flow between it and i
{
    int tree = c->tree[i];
    while (c->parent[i] != TERMINAL) {
        D rest = along(c, tree, c->parent[i] ^ 1);
        *least = rest < *least ? rest : *least;
        i = c->head[c->parent[i]];
    }
    D rest = tree == SOURCE_TREE ? c->end[i] : -c->end[i];
    *least = rest < *least ? rest : *least;
    return i;
}

static void take(Cut *c, I i, D flow)  // on the way between i and its root
{
    int tree = c->tree[i];
    while (c->parent[i] != TERMINAL) {
        I a = c->parent[i], up = c->head[a];
        I used = tree == SOURCE_TREE ? a ^ 1 : a;
        c->rest[used] -= flow;
        c->rest[used ^ 1] += flow;
        if (c->rest[used] <= 0)
            orphan(c, i);
        i = up;
    }
    c->end[i] += tree == SOURCE_TREE ? -flow : flow;
    if (tree == SOURCE_TREE ? c->end[i] <= 0 : c->end[i] >= 0)
        orphan(c, i);
}

static D augment(Cut *c, I bridge)
{
    I from = c->head[bridge ^ 1], to = c->head[bridge];
    D flow = c->rest[bridge];
    root(c, from, &flow);
    root(c, to, &flow);
    c->rest[bridge] -= flow;
    c->rest[bridge ^ 1] += flow;
    take(c, from, flow);
    take(c, to, flow);
    return flow;
}

static I origin(const Cut *c, I i)  // steps from i to the end of its tree; FAR: it hangs on an orphan
{
    I steps = 0;
    for (;; i = c->head[c->parent[i]]) {
        if (c->mark[i] == c->time)
            return steps + c->distance[i];
        steps++;
        if (c->parent[i] == TERMINAL)
            return steps;
        if (c->parent[i] < 0)
            return FAR;
    }
}

static void mark_path(Cut *c, I i, I distance)  // so that nobody walks it again at this time
{
    for (;; i = c->head[c->parent[i]]) {
        if (c->mark[i] == c->time)
            return;
        c->mark[i] = c->time;
        c->distance[i] = distance--;
        if (c->parent[i] == TERMINAL)
            return;
    }
}

static void adopt(Cut *c, I i)  // another parent for an orphan, or it becomes free and its children orphans
{
    int mine = c->tree[i];
    I best = -1, nearest = FAR, found = 0;
    I from = c->start[i], many = c->start[i + 1] - from;
    for (I k = 0; k < many && nearest > 1; k++) {  // nothing is nearer than 1
        I at = from + (c->tried[i] + k) % many;
        I a = c->out[at], j = c->head[a];
        if (c->tree[j] != mine || along(c, mine, a ^ 1) <= 0 || c->parent[j] == NO_PARENT)
            continue;
        I distance = origin(c, j);
        if (distance == FAR)
            continue;
        if (distance < nearest) {
            best = a;
            nearest = distance;
            found = at - from;
        }
        mark_path(c, j, distance);
    }
    if (best >= 0) {
        c->tried[i] = found;
        c->parent[i] = best;
        c->mark[i] = c->time;
        c->distance[i] = nearest + 1;
        return;
    }
    for (I k = c->start[i]; k < c->start[i + 1]; k++) {
        I a = c->out[k], j = c->head[a];
        if (c->tree[j] != mine || c->parent[j] == NO_PARENT)
            continue;
        if (along(c, mine, a ^ 1) > 0)
            activate(c, j);
        if (c->parent[j] >= 0 && c->head[c->parent[j]] == i)
            orphan(c, j);
    }
    c->tree[i] = FREE;
    c->parent[i] = NO_PARENT;
}

static D run(Cut *c)
{
    D flow = 0.0;
    I now = -1;
    for (;;) {
        if (now < 0 || c->tree[now] == FREE) {
            now = next_active(c);
            if (now < 0)
                return flow;
            c->at = c->start[now];
        }
        I bridge = grow(c, now);
        c->time++;
        if (bridge < 0) {
            now = -1;
            continue;
        }
        flow += augment(c, bridge);
        while (c->orphans) {
            I i = c->queue[c->front];
            c->front = (c->front + 1) % (c->n + 1);
            c->orphans--;
            adopt(c, i);
        }
    }
}

static void plant(Cut *c)  // every node with an arc of its own from the source, or to the sink, is in that tree
{
    for (I i = 0; i < c->n; i++) {
        c->parent[i] = NO_PARENT;
        if (c->end[i] == 0.0)
            continue;
        c->tree[i] = c->end[i] > 0 ? SOURCE_TREE : SINK_TREE;
        c->parent[i] = TERMINAL;
        c->distance[i] = 1;
        activate(c, i);
    }
}

static void join(Cut *c, I arcs, const I *source, const I *target, const D *forth, const D *back)
{
    for (I k = 0; k < arcs; k++) {
        c->head[2 * k] = target[k];
        c->head[2 * k + 1] = source[k];
        c->rest[2 * k] = forth[k];
        c->rest[2 * k + 1] = back[k];
        c->start[source[k] + 1]++;
        c->start[target[k] + 1]++;
    }
    for (I i = 0; i < c->n; i++)
        c->start[i + 1] += c->start[i];
    for (I k = 0; k < 2 * arcs; k++)  // `next` counts what each node has already; nobody is active yet
        c->out[c->start[c->head[k ^ 1]] + c->next[c->head[k ^ 1]]++] = k;
}

// The value of the flow; -1 without memory. `end` (n,) is changed; `side` (n,) becomes 1 where the source still reaches.
API D hetero_cut(I n, I arcs, const I *source, const I *target, const D *forth, const D *back, D *end, uint8_t *side)
{
    Cut c = {.n = n, .time = 1, .first = -1, .last = -1, .end = end, .tree = side};
    D flow = -1.0;
    I **of_nodes[] = {&c.parent, &c.mark, &c.distance, &c.next, &c.queue, &c.tried, &c.start};
    int made = 1;
    for (int k = 0; k < 7; k++)
        made &= (*of_nodes[k] = calloc(n + 2, sizeof(I))) != NULL;
    made &= (c.out = calloc(2 * arcs + 1, sizeof(I))) != NULL;
    made &= (c.head = calloc(2 * arcs + 1, sizeof(I))) != NULL;
    made &= (c.rest = calloc(2 * arcs + 1, sizeof(D))) != NULL;
    made &= (c.waits = calloc(n + 1, 1)) != NULL;
    if (made) {
        join(&c, arcs, source, target, forth, back);
        plant(&c);
        flow = run(&c);
        for (I i = 0; i < n; i++)
            side[i] = c.tree[i] == SOURCE_TREE;
    }
    for (int k = 0; k < 7; k++)
        free(*of_nodes[k]);
    free(c.out);
    free(c.head);
    free(c.rest);
    free(c.waits);
    return flow;
}
