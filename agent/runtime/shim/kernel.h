#pragma once
// System calls that glibc 2.36 has no wrapper for, or whose wrapper says too little.

#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace keelson::shim {

inline int sys_openat2(int at, const char* path, uint64_t flags, uint64_t resolve, uint64_t mode = 0) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.mode = mode;
  how.resolve = resolve;
  return static_cast<int>(syscall(SYS_openat2, at, path, &how, sizeof how));
}
inline int sys_open_tree(int at, const char* path, unsigned flags) {
  return static_cast<int>(syscall(SYS_open_tree, at, path, flags | O_CLOEXEC));
}
inline int sys_fsopen(const char* type) { return static_cast<int>(syscall(SYS_fsopen, type, FSOPEN_CLOEXEC)); }
inline int sys_fsconfig(int fs, unsigned command, const char* key, const void* value, int aux = 0) {
  return static_cast<int>(syscall(SYS_fsconfig, fs, command, key, value, aux));
}
inline int sys_fsmount(int fs, unsigned attributes) {
  return static_cast<int>(syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes));
}
// A detached mount onto what `to` refers to.
inline int sys_move_mount(int from, int to) {
  return static_cast<int>(syscall(SYS_move_mount, from, "", to, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
}
inline int sys_mount_setattr(int at, const char* path, unsigned flags, uint64_t set, uint64_t propagation = 0) {
  mount_attr attributes{};
  attributes.attr_set = set;
  attributes.propagation = propagation;
  return static_cast<int>(syscall(SYS_mount_setattr, at, path, flags, &attributes, sizeof attributes));
}
inline int sys_pivot_root(const char* root, const char* old) {
  return static_cast<int>(syscall(SYS_pivot_root, root, old));
}
inline int sys_close_range(unsigned first, unsigned last, unsigned flags) {
  return static_cast<int>(syscall(SYS_close_range, first, last, flags));
}
inline int sys_pidfd_send_signal(int pidfd, int signal) {
  return static_cast<int>(syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0));
}
// A fork into a cgroup. 0 in the child.
inline pid_t sys_clone_into(uint64_t flags, int cgroup, int* pidfd) {
  clone_args args{};
  args.flags = flags | CLONE_PIDFD | CLONE_INTO_CGROUP;
  args.pidfd = reinterpret_cast<uint64_t>(pidfd);
  args.exit_signal = 17;  // SIGCHLD
  args.cgroup = static_cast<uint64_t>(cgroup);
  return static_cast<pid_t>(syscall(SYS_clone3, &args, sizeof args));
}

}  // namespace keelson::shim
