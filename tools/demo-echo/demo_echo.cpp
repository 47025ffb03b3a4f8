// A server to try Services with, and the client that asks it.
//
//   demo-echo serve PORT                     answers every TCP line and UDP datagram with
//                                            "<pod name>: <what came>"
//   demo-echo ask tcp|udp HOST PORT [COUNT]  asks COUNT times (1), each from a fresh socket,
//                                            and prints the answers; exit 1 if one stays out
//
//   demo-echo hold tcp|udp HOST PORT         asks once, prints the answer, then waits in recv()
//                                            and prints why that ended
//
//   demo-echo now [sleep]                    prints CLOCK_MONOTONIC in ns as its first deed (for
//                                            tools/bench), then ends or sleeps
//
// The pod's name is $POD_NAME, or the hostname. Static and small, since it is the only
// content of the quickstart's image beside busybox. IPv4 and IPv6 (one dual-stack socket).

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>

namespace {

constexpr size_t kMostBytes = 1400;
constexpr int kMostClients = 60;
constexpr int kAnswerTimeoutMs = 2000;

char pod_name[256];

int fail(const char* what) {
  fprintf(stderr, "demo-echo: %s: %s\n", what, strerror(errno));
  return 1;
}

int listen_on(uint16_t port, int type) {
  int family = AF_INET6;
  int fd = socket(family, type | SOCK_CLOEXEC, 0);
  if (fd < 0) {  // a host without IPv6
    family = AF_INET;
    fd = socket(family, type | SOCK_CLOEXEC, 0);
  }
  if (fd < 0) return -1;
  const int on = 1;
  const int off = 0;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in6 six{};
  sockaddr_in four{};
  if (family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(port);
  four.sin_family = AF_INET;
  four.sin_port = htons(port);
  const int bound = family == AF_INET6 ? bind(fd, reinterpret_cast<sockaddr*>(&six), sizeof six)
                                       : bind(fd, reinterpret_cast<sockaddr*>(&four), sizeof four);
  if (bound != 0 || (type == SOCK_STREAM && listen(fd, 128) != 0)) {
    close(fd);
    return -1;
  }
  return fd;
}

void answer_datagram(int fd) {
  char question[kMostBytes];
  sockaddr_storage from{};
  socklen_t from_size = sizeof from;
  const ssize_t size =
      recvfrom(fd, question, sizeof question, MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from), &from_size);
  if (size < 0) return;
  char answer[sizeof pod_name + kMostBytes + 4];
  const int prefix = snprintf(answer, sizeof answer, "%s: ", pod_name);
  memcpy(answer + prefix, question, static_cast<size_t>(size));
  sendto(fd, answer, static_cast<size_t>(prefix) + static_cast<size_t>(size), MSG_DONTWAIT | MSG_NOSIGNAL,
         reinterpret_cast<sockaddr*>(&from), from_size);
}

// False when the client has gone.
bool answer_stream(int fd) {
  char question[kMostBytes];
  const ssize_t size = recv(fd, question, sizeof question, MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (size <= 0) return false;
  char answer[sizeof pod_name + kMostBytes + 4];
  const int prefix = snprintf(answer, sizeof answer, "%s: ", pod_name);
  memcpy(answer + prefix, question, static_cast<size_t>(size));
  return send(fd, answer, static_cast<size_t>(prefix) + static_cast<size_t>(size), MSG_NOSIGNAL) > 0;
}

int serve(uint16_t port) {
  const int tcp = listen_on(port, SOCK_STREAM);
  if (tcp < 0) return fail("listen on TCP");
  const int udp = listen_on(port, SOCK_DGRAM);
  if (udp < 0) return fail("bind UDP");
  printf("serving on port %u, TCP and UDP, as %s\n", port, pod_name);
  fflush(stdout);

  pollfd polled[2 + kMostClients] = {{tcp, POLLIN, 0}, {udp, POLLIN, 0}};
  for (int i = 2; i < 2 + kMostClients; ++i) polled[i] = {-1, POLLIN, 0};
  for (;;) {
    if (poll(polled, 2 + kMostClients, -1) < 0) {
      if (errno == EINTR) continue;
      return fail("poll");
    }
    if (polled[1].revents != 0) answer_datagram(udp);
    for (int i = 2; i < 2 + kMostClients; ++i) {
      if (polled[i].fd >= 0 && polled[i].revents != 0 && !answer_stream(polled[i].fd)) {
        close(polled[i].fd);
        polled[i].fd = -1;
      }
    }
    if (polled[0].revents == 0) continue;
    const int client = accept4(tcp, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) continue;
    int free_place = -1;
    for (int i = 2; i < 2 + kMostClients && free_place < 0; ++i) {
      if (polled[i].fd < 0) free_place = i;
    }
    if (free_place < 0) {
      close(client);
    } else {
      polled[free_place] = {client, POLLIN, 0};
    }
  }
}

// One question from a fresh socket; prints the answer. 0 if one came.
int ask_once(const sockaddr_storage& to, socklen_t to_size, int type) {
  const int fd = socket(to.ss_family, type | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail("socket");
  const timeval timeout{kAnswerTimeoutMs / 1000, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
  char answer[kMostBytes + sizeof pod_name];
  int result = 1;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&to), to_size) != 0) {
    fail("connect");
  } else if (send(fd, "hello\n", 6, MSG_NOSIGNAL) != 6) {
    fail("send");
  } else if (const ssize_t size = recv(fd, answer, sizeof answer, 0); size <= 0) {
    fail("no answer");
  } else {
    fwrite(answer, 1, static_cast<size_t>(size), stdout);
    result = 0;
  }
  close(fd);
  return result;
}

int hold(const sockaddr_storage& to, socklen_t to_size, int type) {
  const int fd = socket(to.ss_family, type | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail("socket");
  char answer[kMostBytes + sizeof pod_name];
  if (connect(fd, reinterpret_cast<const sockaddr*>(&to), to_size) != 0) return fail("connect");
  if (send(fd, "hello\n", 6, MSG_NOSIGNAL) != 6) return fail("send");
  for (;;) {
    const ssize_t size = recv(fd, answer, sizeof answer, 0);
    if (size <= 0) {
      printf("ended: %s\n", size == 0 ? "end of stream" : strerror(errno));
      return 0;
    }
    fwrite(answer, 1, static_cast<size_t>(size), stdout);
    fflush(stdout);
  }
}

// 0 when HOST is no numeric address.
socklen_t read_address(const char* host, const char* port, sockaddr_storage& to) {
  auto& four = reinterpret_cast<sockaddr_in&>(to);
  auto& six = reinterpret_cast<sockaddr_in6&>(to);
  if (inet_pton(AF_INET, host, &four.sin_addr) == 1) {
    four.sin_family = AF_INET;
    four.sin_port = htons(static_cast<uint16_t>(atoi(port)));
    return sizeof four;
  }
  if (inet_pton(AF_INET6, host, &six.sin6_addr) == 1) {
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(static_cast<uint16_t>(atoi(port)));
    return sizeof six;
  }
  fprintf(stderr, "demo-echo: %s: not a numeric address\n", host);
  return 0;
}

int ask(const char* protocol, const char* host, const char* port, int count, bool holds) {
  sockaddr_storage to{};
  const socklen_t size = read_address(host, port, to);
  if (size == 0) return 2;
  const int type = strcmp(protocol, "udp") == 0 ? SOCK_DGRAM : SOCK_STREAM;
  if (holds) return hold(to, size, type);
  int result = 0;
  for (int i = 0; i < count; ++i) result |= ask_once(to, size, type);
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc >= 2 && strcmp(argv[1], "now") == 0) {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    printf("now %lld\n", static_cast<long long>(now.tv_sec) * 1000000000LL + now.tv_nsec);
    fflush(stdout);
    signal(SIGTERM, [](int) { _exit(0); });
    if (argc < 3) return 0;
    for (;;) pause();
  }
  signal(SIGPIPE, SIG_IGN);
  // PID 1 of a container has no default actions: without this, SIGTERM would be ignored.
  signal(SIGTERM, [](int) { _exit(0); });
  if (const char* name = getenv("POD_NAME"); name != nullptr && *name != '\0') {
    snprintf(pod_name, sizeof pod_name, "%s", name);
  } else if (gethostname(pod_name, sizeof pod_name - 1) != 0) {
    snprintf(pod_name, sizeof pod_name, "unknown");
  }
  if (argc == 3 && strcmp(argv[1], "serve") == 0) return serve(static_cast<uint16_t>(atoi(argv[2])));
  if ((argc == 5 || argc == 6) && strcmp(argv[1], "ask") == 0) {
    return ask(argv[2], argv[3], argv[4], argc == 6 ? atoi(argv[5]) : 1, false);
  }
  if (argc == 5 && strcmp(argv[1], "hold") == 0) return ask(argv[2], argv[3], argv[4], 1, true);
  fprintf(stderr,
          "usage: demo-echo serve PORT | demo-echo ask tcp|udp HOST PORT [COUNT] | demo-echo hold tcp|udp HOST "
          "PORT\n");
  return 2;
}
