/*
 * Load for a relay, or for whatever else forwards UDP on loopback: sends on one end of each flow, counts on the other one, prints one
 * line of JSON. Plain C99 on Linux, so that it is faster than all it measures. What set a flow up is not its business: see turn.js.
 *
 *   load up|down PAYLOAD WINDOW RATE WARM SECONDS SPIN PIDS FLOW...
 *
 * up is client to peer, down is peer to client. PAYLOAD are the application's bytes. RATE 0 is the closed loop: WINDOW datagrams on their
 * way for each flow, another one for each that came; any other RATE is the open loop, datagrams a second of all flows together, whatever
 * comes back. WARM and SECONDS are how long to run before and while counting. SPIN 1 never sleeps, for who has a core for himself. PIDS
 * are the processes whose processor time is counted, with commas; '-' for none.
 * FLOW is CLIENT:SERVER:PEER:RELAY:CHANNEL: four ports of 127.0.0.1, of which this binds CLIENT and PEER; CHANNEL is the number of
 * RFC 8656 12.4 that frames what goes between CLIENT and SERVER, or 0 for no frame.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 32, MOST_FLOWS = 1024, MOST_PIDS = 16, MOST_PAYLOAD = 1472, STAMP = 24, BUFFER = 4 << 20, SUB = 32, BUCKETS = 40 * SUB };
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef SOL_UDP
#define SOL_UDP 17
#endif

static const uint64_t STALLED = 200000000; /* ns without one arrival after which what is on its way counts as lost */
static const uint32_t MAGIC = 0x5a17b0a7;

struct flow {
  int from, to, framed_out, framed_in;
  uint16_t channel;
  uint64_t next, expected; /* sequence numbers: of the next one to send, of the next one to come */
};

static struct flow flows[MOST_FLOWS], *ready[MOST_FLOWS];
static int flow_count, payload, window, spin, readiness, segments = 1;
static long pids[MOST_PIDS];
static int pid_count;
static uint64_t received, sent, lost, late, idle, last_arrival, histogram[BUCKETS];

static uint8_t in[BATCH][2048], out[BATCH][4 + STAMP], filler[MOST_PAYLOAD];
static struct mmsghdr in_messages[BATCH], out_messages[BATCH];
static struct iovec in_parts[BATCH], out_parts[BATCH][2];

static void fail(const char *what) {
  fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
  exit(1);
}

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Log-linear: 32 steps for each power of two, so a quantile is right to 3 %. */
static void record(uint64_t ns) {
  int power = 63 - __builtin_clzll(ns | SUB);
  uint64_t bucket = (uint64_t)(power - 5) * SUB + (ns >> (power - 5));
  histogram[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
}

static double quantile(double q) {
  uint64_t all = 0, below = 0;
  for (int i = 0; i < BUCKETS; i++) all += histogram[i];
  for (int i = 0; i < BUCKETS; i++) {
    below += histogram[i];
    if (all > 0 && (double)below >= q * (double)all) return (i < SUB ? i : (double)((uint64_t)(i % SUB + SUB) << (i / SUB - 1))) / 1e3;
  }
  return 0;
}

/* Microseconds of processor time that the measured processes have used, all threads of theirs. */
static double used(void) {
  double ticks = 0;
  for (int i = 0; i < pid_count; i++) {
    char path[64], text[1024];
    unsigned long user, system;
    snprintf(path, sizeof path, "/proc/%ld/stat", pids[i]);
    FILE *file = fopen(path, "r");
    if (file == NULL || fgets(text, sizeof text, file) == NULL) fail(path);
    fclose(file);
    char *behind = strrchr(text, ')'); /* the name may hold anything */
    if (behind == NULL || sscanf(behind + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2) fail(path);
    ticks += (double)(user + system);
  }
  return ticks * 1e6 / (double)sysconf(_SC_CLK_TCK);
}

static double used_here(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* Connected, so that nobody else's datagrams are counted. */
static int open_socket(int port, int remote) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), size = BUFFER;
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0) fail("bind");
  at.sin_port = htons((uint16_t)remote);
  if (connect(fd, (struct sockaddr *)&at, sizeof at) != 0) fail("connect");
  return fd;
}

static void add_flow(const char *text, int up) {
  int client, server, peer, relay, channel;
  struct flow *flow = &flows[flow_count];
  if (flow_count == MOST_FLOWS || sscanf(text, "%d:%d:%d:%d:%d", &client, &server, &peer, &relay, &channel) != 5) fail(text);
  int near = open_socket(client, server), far = open_socket(peer, relay);
  flow->from = up ? near : far;
  flow->to = up ? far : near;
  flow->channel = (uint16_t)channel;
  flow->framed_out = channel != 0 && up;
  flow->framed_in = channel != 0 && !up;
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = flow};
  if (epoll_ctl(readiness, EPOLL_CTL_ADD, flow->to, &event) != 0) fail("epoll");
  flow_count++;
}

/*
 * All in one, for the system to cut into datagrams (UDP_SEGMENT, Linux 4.18): less than half of what it costs to send them one by one. The
 * receiver gets them as any others, at the same cost to him.
 */
static int send_segments(int fd, int count, int size) {
  union {
    char bytes[CMSG_SPACE(sizeof(uint16_t))];
    struct cmsghdr aligned;
  } control = {{0}};
  struct msghdr message = {
    .msg_iov = out_parts[0], .msg_iovlen = (size_t)count * 2, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  struct cmsghdr *option = CMSG_FIRSTHDR(&message);
  uint16_t each = (uint16_t)size;
  option->cmsg_level = SOL_UDP;
  option->cmsg_type = UDP_SEGMENT;
  option->cmsg_len = CMSG_LEN(sizeof each);
  memcpy(CMSG_DATA(option), &each, sizeof each);
  return sendmsg(fd, &message, 0) < 0 ? -1 : count;
}

static int send_some(struct flow *flow, int count) {
  uint64_t at = now();
  int head = flow->framed_out ? 4 : 0;
  for (int i = 0; i < count; i++) {
    uint8_t *data = out[i];
    uint16_t frame[2] = {htons(flow->channel), htons((uint16_t)payload)};
    uint64_t sequence = flow->next + (uint64_t)i;
    memcpy(data, frame, 4);
    memcpy(data + head, &MAGIC, 4);
    memcpy(data + head + 8, &sequence, 8);
    memcpy(data + head + 16, &at, 8);
    out_parts[i][0].iov_len = (size_t)(head + STAMP);
  }
  int gone = -1;
  if (count > 1 && segments && (gone = send_segments(flow->from, count, head + payload)) < 0) {
    if (errno != EINVAL && errno != EIO && errno != ENOPROTOOPT) return 0; /* no room: later */
    segments = 0;
  }
  if (gone < 0) gone = sendmmsg(flow->from, out_messages, (unsigned)count, 0);
  if (gone < 0) {
    if (errno != EAGAIN && errno != ECONNREFUSED && errno != ENOBUFS) fail("send");
    return 0;
  }
  flow->next += (uint64_t)gone;
  sent += (uint64_t)gone;
  return gone;
}

static int receive_some(struct flow *flow) {
  int came = recvmmsg(flow->to, in_messages, BATCH, MSG_DONTWAIT, NULL);
  if (came <= 0) return 0;
  uint64_t at = now();
  int head = flow->framed_in ? 4 : 0;
  for (int i = 0; i < came; i++) {
    uint32_t magic;
    uint64_t sequence, stamp;
    memcpy(&magic, in[i] + head, 4);
    memcpy(&sequence, in[i] + head + 8, 8);
    memcpy(&stamp, in[i] + head + 16, 8);
    if ((int)in_messages[i].msg_len != head + payload || magic != MAGIC || sequence >= flow->next) continue;
    if (head != 0 && (in[i][0] != flow->channel >> 8 || in[i][1] != (flow->channel & 0xff))) continue;
    if (sequence < flow->expected) {
      late++;
      continue;
    }
    lost += sequence - flow->expected;
    flow->expected = sequence + 1;
    received++;
    record(at - stamp);
  }
  last_arrival = at;
  return came;
}

/* Flows of which something came, in `ready`: all of them for who never sleeps, as asking costs as much as trying. */
static int find_ready(void) {
  if (spin) {
    for (int i = 0; i < flow_count; i++) ready[i] = &flows[i];
    return flow_count;
  }
  static struct epoll_event events[MOST_FLOWS];
  int count = epoll_wait(readiness, events, flow_count, 10);
  for (int i = 0; i < count; i++) ready[i] = events[i].data.ptr;
  return count < 0 ? 0 : count;
}

static void give_up(void) {
  for (int i = 0; i < flow_count; i++) {
    lost += flows[i].next - flows[i].expected;
    flows[i].expected = flows[i].next;
  }
}

static int refill(struct flow *flow) {
  /* Not one by one: who sends each time that one came pays for a system call each. */
  int least = window / 8 < 1 ? 1 : window / 8 > BATCH ? BATCH : window / 8;
  int room = window - (int)(flow->next - flow->expected);
  return room < least ? 0 : send_some(flow, room < BATCH ? room : BATCH);
}

static void closed_loop(uint64_t until) {
  int start = 1;
  for (uint64_t t = now(), then; t < until; t = then) {
    int done = 0;
    for (int i = 0; start && i < flow_count; i++) done += refill(&flows[i]);
    start = 0;
    int count = find_ready();
    for (int i = 0; i < count; i++) {
      done += receive_some(ready[i]);
      done += refill(ready[i]);
    }
    then = now();
    if (done > 0) continue;
    idle += then - t;
    if (then - last_arrival > STALLED) {
      give_up();
      last_arrival = then;
      start = 1;
    }
  }
}

static void open_loop(uint64_t until, double rate) {
  uint64_t start = now();
  double every = 1e9 / rate;
  for (uint64_t k = 0, t = start; t < until; t = now()) {
    struct flow *flow = &flows[k % (uint64_t)flow_count];
    if ((double)(t - start) >= (double)k * every && send_some(flow, 1) == 1) k++;
    for (int i = 0; i < flow_count; i++) receive_some(&flows[i]);
  }
}

static void run(double seconds, double rate) {
  uint64_t until = last_arrival = now();
  until += (uint64_t)(seconds * 1e9);
  if (rate > 0) open_loop(until, rate);
  else closed_loop(until);
}

int main(int count, char **words) {
  if (count < 10) {
    fprintf(stderr, "load up|down PAYLOAD WINDOW RATE WARM SECONDS SPIN PIDS FLOW...\n");
    return 2;
  }
  int up = strcmp(words[1], "up") == 0;
  payload = atoi(words[2]);
  window = atoi(words[3]);
  double rate = atof(words[4]), warm = atof(words[5]), seconds = atof(words[6]);
  spin = atoi(words[7]);
  if (payload < STAMP || payload > MOST_PAYLOAD || window < 1) {
    errno = EINVAL;
    fail("payload or window");
  }
  if (words[8][0] != '-')
    for (char *pid = strtok(words[8], ","); pid != NULL && pid_count < MOST_PIDS; pid = strtok(NULL, ",")) pids[pid_count++] = atol(pid);
  readiness = epoll_create1(0);
  for (int i = 9; i < count; i++) add_flow(words[i], up);

  for (int i = 0; i < BATCH; i++) {
    in_parts[i] = (struct iovec){in[i], sizeof in[i]};
    in_messages[i].msg_hdr = (struct msghdr){.msg_iov = &in_parts[i], .msg_iovlen = 1};
    out_parts[i][0].iov_base = out[i];
    out_parts[i][1] = (struct iovec){filler, (size_t)(payload - STAMP)};
    out_messages[i].msg_hdr = (struct msghdr){.msg_iov = out_parts[i], .msg_iovlen = payload > STAMP ? 2 : 1};
  }

  run(warm, rate);
  received = sent = lost = late = idle = 0;
  memset(histogram, 0, sizeof histogram);
  double before = used(), here = used_here();
  uint64_t start = now();
  run(seconds, rate);
  double took = (double)(now() - start) / 1e9, cpu = used() - before;
  here = used_here() - here;
  printf("{\"packets\":%llu,\"sent\":%llu,\"lost\":%llu,\"late\":%llu,\"seconds\":%.6f,\"rate\":%.1f,\"cpu\":%.4f,\"load\":%.4f,\"idle\":%.4f,"
         "\"generator\":%.4f,\"p50\":%.2f,\"p99\":%.2f,\"p999\":%.2f}\n",
         (unsigned long long)received, (unsigned long long)sent, (unsigned long long)lost, (unsigned long long)late, took,
         (double)received / took, received > 0 ? cpu / (double)received : 0, cpu / took / 1e6, (double)idle / 1e9 / took, here / took / 1e6,
         quantile(.5), quantile(.99), quantile(.999));
  return 0;
}
