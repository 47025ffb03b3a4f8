#pragma once
// What the service manager that started this program, systemd as a rule, is told about it.
// Source: sd_notify(3), whose protocol is one datagram to the socket that $NOTIFY_SOCKET
// names.

#include <string_view>

#include "host/error.h"

namespace keelson::host {

// "READY=1" to the socket at `address`: a path, or with a leading '@' a name in the abstract
// namespace. Blocks only as long as the manager does not read. Any thread.
Status notify_service_manager(std::string_view address, std::string_view state);

}  // namespace keelson::host
