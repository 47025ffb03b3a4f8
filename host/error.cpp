#include "host/error.h"

#include <fmt/core.h>

#include <cerrno>
#include <cstring>

namespace keelson::host {

Error Error::within(std::string_view context) && {
  message.insert(0, fmt::format("{}: ", context));
  return std::move(*this);
}

Error Error::within(std::string_view context) const& { return Error(*this).within(context); }

std::unexpected<Error> fail(std::string message) { return fail(Error::Code::failed, std::move(message)); }

std::unexpected<Error> fail(Error::Code code, std::string message) {
  return std::unexpected(Error{.code = code, .sys = 0, .message = std::move(message)});
}

std::unexpected<Error> sys_fail(std::string_view what) { return sys_fail(what, errno); }

std::unexpected<Error> sys_fail(std::string_view what, int error_number) {
  auto code = Error::Code::failed;
  switch (error_number) {
    case ENOENT:
    case ESRCH:
      code = Error::Code::not_found;
      break;
    case EEXIST:
      code = Error::Code::exists;
      break;
    case EPERM:
    case EACCES:
      code = Error::Code::denied;
      break;
    case ENOSYS:
    case EOPNOTSUPP:
      code = Error::Code::unsupported;
      break;
    case EAGAIN:
    case ECONNREFUSED:
    case ECONNRESET:
    case ETIMEDOUT:
      code = Error::Code::unavailable;
      break;
    default:
      break;
  }
  return std::unexpected(
      Error{.code = code, .sys = error_number, .message = fmt::format("{}: {}", what, std::strerror(error_number))});
}

}  // namespace keelson::host
