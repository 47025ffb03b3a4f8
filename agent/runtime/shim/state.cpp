#include "agent/runtime/shim/state.h"

#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

namespace keelson::shim {

int64_t now_us() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

void close_fd(int& fd) {
  if (fd >= 0) close(fd);
  fd = -1;
}

void watch(Shim& shim, int fd, Watch kind, uint32_t index) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = static_cast<uint64_t>(kind) << 32 | index;
  epoll_ctl(shim.epoll, EPOLL_CTL_ADD, fd, &event);
}

}  // namespace keelson::shim
