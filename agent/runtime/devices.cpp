#include "agent/runtime/devices.h"

#include <fmt/core.h>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace keelson::runtime {

namespace {

struct Device {
  uint32_t major;
  int32_t minor;  // -1: all
};
// null, zero, full, random, urandom; tty, console, ptmx; pts.
constexpr Device kAllowed[] = {{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}, {5, 1}, {5, 2}, {136, -1}};

bpf_insn load(uint8_t to, int16_t offset) {
  return {.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = to, .src_reg = BPF_REG_1, .off = offset, .imm = 0};
}
bpf_insn jump_unless_equal(uint8_t reg, int32_t value, int16_t skip) {
  return {.code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = reg, .src_reg = 0, .off = skip, .imm = value};
}
bpf_insn alu(uint8_t operation, uint8_t reg, int32_t value) {
  return {.code = static_cast<uint8_t>(BPF_ALU64 | operation | BPF_K),
          .dst_reg = reg,
          .src_reg = 0,
          .off = 0,
          .imm = value};
}
bpf_insn leave() { return {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}; }

// r2: access << 16 | type, r3: type, r4: access, r5: major, r6: minor.
std::vector<bpf_insn> program() {
  std::vector<bpf_insn> code;
  code.push_back(load(BPF_REG_2, offsetof(bpf_cgroup_dev_ctx, access_type)));
  code.push_back({.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_3, .src_reg = BPF_REG_2, .off = 0, .imm = 0});
  code.push_back(alu(BPF_AND, BPF_REG_3, 0xffff));
  code.push_back({.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_4, .src_reg = BPF_REG_2, .off = 0, .imm = 0});
  code.push_back(alu(BPF_RSH, BPF_REG_4, 16));
  code.push_back(load(BPF_REG_5, offsetof(bpf_cgroup_dev_ctx, major)));
  code.push_back(load(BPF_REG_6, offsetof(bpf_cgroup_dev_ctx, minor)));
  code.push_back(alu(BPF_MOV, BPF_REG_0, 1));
  // mknod and nothing else: any device.
  code.push_back(jump_unless_equal(BPF_REG_4, BPF_DEVCG_ACC_MKNOD, 1));
  code.push_back(leave());
  for (const auto& [major, minor] : kAllowed) {
    code.push_back(jump_unless_equal(BPF_REG_3, BPF_DEVCG_DEV_CHAR, minor < 0 ? 2 : 3));
    code.push_back(jump_unless_equal(BPF_REG_5, static_cast<int32_t>(major), minor < 0 ? 1 : 2));
    if (minor >= 0) code.push_back(jump_unless_equal(BPF_REG_6, minor, 1));
    code.push_back(leave());
  }
  code.push_back(alu(BPF_MOV, BPF_REG_0, 0));
  code.push_back(leave());
  return code;
}

int bpf(int command, bpf_attr& attributes) {
  return static_cast<int>(::syscall(SYS_bpf, command, &attributes, sizeof attributes));
}

}  // namespace

host::Result<DeviceGuard> DeviceGuard::create(const host::CgroupTree& cgroups) {
  DeviceGuard guard;
  if (cgroups.has_v1("devices")) return guard;
  const auto code = program();
  static constexpr char kLicense[] = "Apache-2.0";
  bpf_attr attributes;
  std::memset(&attributes, 0, sizeof attributes);
  attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  attributes.expected_attach_type = BPF_CGROUP_DEVICE;
  attributes.insns = reinterpret_cast<uint64_t>(code.data());
  attributes.insn_cnt = static_cast<uint32_t>(code.size());
  attributes.license = reinterpret_cast<uint64_t>(kLicense);
  std::memcpy(attributes.prog_name, "keelson_devices", sizeof "keelson_devices");
  guard.program_ = host::Fd(bpf(BPF_PROG_LOAD, attributes));
  if (!guard.program_) return host::sys_fail("load the device program (BPF_PROG_TYPE_CGROUP_DEVICE)");
  return guard;
}

host::Status DeviceGuard::restrict(const host::CgroupTree& cgroups, const host::Path& cgroup) const {
  if (!program_) {
    if (auto denied = cgroups.write_v1(cgroup, "devices", "devices.deny", "a"); !denied) return denied;
    std::vector<std::string> rules{"c *:* m", "b *:* m"};
    for (const auto& [major, minor] : kAllowed) {
      rules.push_back(fmt::format("c {}:{} rwm", major, minor < 0 ? "*" : std::to_string(minor)));
    }
    for (const auto& rule : rules) {
      if (auto allowed = cgroups.write_v1(cgroup, "devices", "devices.allow", rule); !allowed) return allowed;
    }
    return {};
  }
  auto directory = cgroups.open(cgroup);
  if (!directory) return std::unexpected(directory.error());
  bpf_attr query;
  std::memset(&query, 0, sizeof query);
  query.query.target_fd = static_cast<uint32_t>(directory->get());
  query.query.attach_type = BPF_CGROUP_DEVICE;
  if (bpf(BPF_PROG_QUERY, query) == 0 && query.query.prog_cnt > 0) return {};  // of an earlier start
  bpf_attr attach;
  std::memset(&attach, 0, sizeof attach);
  attach.target_fd = static_cast<uint32_t>(directory->get());
  attach.attach_bpf_fd = static_cast<uint32_t>(program_.get());
  attach.attach_type = BPF_CGROUP_DEVICE;
  attach.attach_flags = BPF_F_ALLOW_MULTI;
  if (bpf(BPF_PROG_ATTACH, attach) != 0) return host::sys_fail("attach the device program to " + cgroup.string());
  return {};
}

}  // namespace keelson::runtime
