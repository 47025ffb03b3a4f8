#include "agent/runtime/users.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>

namespace keelson::runtime {

namespace {

constexpr size_t kMaxFile = 1u << 20;
constexpr size_t kMaxGroups = 65536;  // NGROUPS_MAX

std::optional<uint32_t> number(std::string_view text) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || value == UINT32_MAX) return {};
  return value;
}

// Calls `each` with the first N fields of every line; stops when it returns true.
template <size_t N, typename Each>
void for_each_line(std::string_view text, Each each) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    std::array<std::string_view, N> fields;
    size_t count = 0;
    for (; count < N; ++count) {
      const size_t colon = line.find(':');
      fields[count] = line.substr(0, colon);
      if (colon == std::string_view::npos) {
        ++count;
        break;
      }
      line.remove_prefix(colon + 1);
    }
    if (count == N && each(fields)) return;
  }
}

}  // namespace

host::Result<UserIdentity> resolve_user(const UserRequest& request, std::string_view passwd, std::string_view group) {
  const size_t colon = request.user.find(':');
  const std::string user = request.user.substr(0, colon);
  const std::string named_group = colon == std::string::npos ? "" : request.user.substr(colon + 1);
  UserIdentity identity;
  const auto uid = number(user);
  std::string name;
  bool known = false;
  for_each_line<6>(passwd, [&](const auto& fields) {
    const auto entry_uid = number(fields[2]);
    const auto entry_gid = number(fields[3]);
    if (!entry_uid || !entry_gid) return false;
    const bool match = user.empty() ? *entry_uid == 0 : uid ? *entry_uid == *uid : fields[0] == user;
    if (!match) return false;
    known = true;
    name = fields[0];
    identity.uid = *entry_uid;
    identity.gid = *entry_gid;
    if (!fields[5].empty()) identity.home = fields[5];
    return true;
  });
  if (!known && uid) identity.uid = *uid;
  if (!known && !uid && !user.empty()) {
    return host::fail(host::Error::Code::invalid, fmt::format("user \"{}\": not in the image's /etc/passwd", user));
  }
  if (request.group) {
    if (*request.group < 0 || *request.group >= UINT32_MAX) {
      return host::fail(host::Error::Code::invalid, fmt::format("group {}: out of range", *request.group));
    }
    identity.gid = static_cast<gid_t>(*request.group);
  } else if (!named_group.empty()) {
    auto gid = number(named_group);
    if (!gid) {
      for_each_line<3>(group, [&](const auto& fields) {
        if (fields[0] == named_group) gid = number(fields[2]);
        return gid.has_value();
      });
    }
    if (!gid) {
      return host::fail(host::Error::Code::invalid,
                        fmt::format("group \"{}\": not in the image's /etc/group", named_group));
    }
    identity.gid = *gid;
  }
  if (request.must_not_be_root && identity.uid == 0) {
    return host::fail(host::Error::Code::invalid, "container has runAsNonRoot and image will run as root");
  }
  identity.groups.push_back(identity.gid);
  const auto add = [&identity](gid_t gid) {
    if (identity.groups.size() < kMaxGroups && std::ranges::find(identity.groups, gid) == identity.groups.end()) {
      identity.groups.push_back(gid);
    }
  };
  for (const gid_t gid : request.supplemental) add(gid);
  if (!name.empty()) {
    for_each_line<4>(group, [&](const auto& fields) {
      const auto gid = number(fields[2]);
      std::string_view members = fields[3];
      while (gid && !members.empty()) {
        const size_t comma = std::min(members.find(','), members.size());
        if (members.substr(0, comma) == name) add(*gid);
        members.remove_prefix(std::min(comma + 1, members.size()));
      }
      return false;
    });
  }
  return identity;
}

host::Result<std::string> read_in_root(const host::Fd& root, const std::string& path) {
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  const host::Fd fd(static_cast<int>(::syscall(SYS_openat2, root.get(), path.c_str(), &how, sizeof how)));
  if (!fd) {
    if (errno == ENOENT || errno == ENOTDIR) return std::string();
    return host::sys_fail("open the image's /" + path);
  }
  struct stat status;
  if (::fstat(fd.get(), &status) != 0) return host::sys_fail("stat the image's /" + path);
  if (!S_ISREG(status.st_mode) || static_cast<uint64_t>(status.st_size) > kMaxFile) {
    return host::fail(host::Error::Code::invalid, fmt::format("the image's /{} is no file of a sensible size", path));
  }
  std::string text(static_cast<size_t>(status.st_size), '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t more = ::read(fd.get(), text.data() + size, text.size() - size);
    if (more < 0 && errno == EINTR) continue;
    if (more < 0) return host::sys_fail("read the image's /" + path);
    if (more == 0) break;
    size += static_cast<size_t>(more);
  }
  text.resize(size);
  return text;
}

}  // namespace keelson::runtime
