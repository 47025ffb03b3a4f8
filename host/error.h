#pragma once
// What can fail returns Result<T>; an Error says what was wrong, where, and what
// to do, in words meant for the user who reads them in a status or a log.

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace keelson::host {

struct Error {
  // Coarse kinds that callers act upon; everything else is in the message.
  enum class Code {
    failed,       // no more specific kind
    not_found,    // the thing asked for does not exist
    exists,       // it exists already, or conflicts with one that does
    invalid,      // the input is wrong and will stay so: do not retry
    denied,       // policy, credentials or privilege
    unavailable,  // a peer or a resource is away for now: retry
    unsupported,  // this kernel or host cannot
  };

  Code code = Code::failed;
  int sys = 0;  // errno, 0 when no system call failed
  std::string message;

  // The same error with context in front: "pod web: mount /data: No such file".
  // Added once per room (STYLE.md 13).
  Error within(std::string_view context) &&;
  Error within(std::string_view context) const&;
};

template <typename T>
using Result = std::expected<T, Error>;
using Status = std::expected<void, Error>;

// Failures to return: `return fail("no address left in {}", cidr);` is spelled
// with fmt at the caller: fail(fmt::format(...)).
std::unexpected<Error> fail(std::string message);
std::unexpected<Error> fail(Error::Code code, std::string message);
// From errno, which is read first: `return sys_fail("open " + path);`. The code
// follows the errno (ENOENT → not_found, EEXIST → exists, EPERM/EACCES → denied,
// ENOSYS/EOPNOTSUPP → unsupported, EAGAIN/ECONNREFUSED → unavailable).
std::unexpected<Error> sys_fail(std::string_view what);
std::unexpected<Error> sys_fail(std::string_view what, int error_number);

}  // namespace keelson::host
