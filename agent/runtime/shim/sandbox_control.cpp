#include "agent/runtime/shim/sandbox_control.h"

#include <errno.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/runtime/shim/agent.h"
#include "agent/runtime/shim/child.h"
#include "agent/runtime/shim/kernel.h"

namespace keelson::shim {

void answer_sandbox(Shim& shim, Type type, uint32_t number) {
  char buffer[kMaxContainers * (kMaxName + 64) + 64];
  Writer out(buffer, sizeof buffer);
  SandboxState state{.ready = shim.ready, .init_pid = shim.init};
  for (const Container* container : shim.containers) state.containers += container != nullptr && type == Type::welcome;
  state.encode(out);
  for (const Container* container : shim.containers) {
    if (container == nullptr || type != Type::welcome) continue;
    ContainerState{container->name, container->attempt, container->pid, container->start_time, container->started_at_us}
        .encode(out);
  }
  const int fds[2] = {shim.network, shim.netlink};
  if (!send_packet(shim.agent, type, number, buffer, out.size(), fds, shim.ready && shim.network >= 0 ? 2 : 0)) {
    drop_agent(shim);
  }
}

void handle_sandbox(Shim& shim, Packet& packet) {
  SandboxRequest request;
  Reader in(packet.body, packet.header.size);
  const uint32_t number = packet.header.number;
  if (!request.decode(in) || packet.fd_count != 1 + request.v1 + request.volumes) {
    return answer_error(shim, number, EINVAL, "sandbox");
  }
  if (shim.ready) return answer_sandbox(shim, Type::sandbox_ready, number);
  if (shim.init > 0) return answer_error(shim, number, EALREADY, "sandbox");
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    return answer_error(shim, number, errno, "socketpair");
  uint64_t flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS;
  if ((request.flags & kHostNetwork) == 0) flags |= CLONE_NEWNET;
  if ((request.flags & kHostIpc) == 0) flags |= CLONE_NEWIPC;
  const pid_t pid = sys_clone_into(flags, packet.fds[0], &shim.init_pidfd);
  if (pid == 0) {
    close(pair[0]);
    run_init(request, pair[1], packet.fds + 1, packet.fds + 1 + request.v1);
  }
  close(pair[1]);
  if (pid < 0) {
    const int error_number = errno;
    close(pair[0]);
    return answer_error(shim, number, error_number, "create the sandbox");
  }
  shim.sandbox_flags = request.flags;
  shim.init = pid;
  shim.init_control = pair[0];
  shim.sandbox_number = number;
  watch(shim, pair[0], Watch::init);
}

void read_init_control(Shim& shim) {
  char note[1100];
  for (;;) {
    int fd = -1;
    const long size = receive_note(shim.init_control, note, sizeof note, &fd, false);
    if (size < 0) return;
    if (size == 0) {
      close_fd(shim.init_control);
      if (shim.sandbox_number != 0 && !shim.ready) {
        answer_error(shim, shim.sandbox_number, 0, "the sandbox was killed while it was set up");
        shim.sandbox_number = 0;
      }
      return;
    }
    if (note[0] == kNamespaces && size == 2) {
      (note[1] == 'n' ? shim.network : shim.netlink) = fd;
    } else if (note[0] == kReady) {
      shim.ready = true;
      answer_sandbox(shim, Type::sandbox_ready, shim.sandbox_number);
      shim.sandbox_number = 0;
    } else if (note[0] == kFailed) {
      answer_error(shim, shim.sandbox_number, 0, note + 1, static_cast<size_t>(size) - 1);
      shim.sandbox_number = 0;
    }
  }
}

}  // namespace keelson::shim
