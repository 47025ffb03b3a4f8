#pragma once
// Who a container runs as: names and numbers looked up in the image's own
// /etc/passwd and /etc/group, read within its root and with a bound.

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "host/error.h"
#include "host/fd.h"

namespace keelson::runtime {

struct UserIdentity {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  // the primary one first
  std::string home = "/";
};

struct UserRequest {
  std::string user;  // "", "1000", "1000:1000", "nginx", "nginx:nginx"
  std::optional<int64_t> group;
  std::vector<gid_t> supplemental;
  bool must_not_be_root = false;
};

// From the files' texts. An id that passwd does not know runs with group 0, as
// with other runtimes; a name it does not know is an error.
host::Result<UserIdentity> resolve_user(const UserRequest& request, std::string_view passwd, std::string_view group);

// /etc/passwd or /etc/group within a root (a mount or a directory); "" when there is none.
host::Result<std::string> read_in_root(const host::Fd& root, const std::string& path);

}  // namespace keelson::runtime
