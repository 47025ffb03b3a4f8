#include "host/link_monitor.h"

#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

namespace keelson::host {
namespace {

// "" for news of no link that is still there.
std::string link_of(const nlmsghdr* message) {
  if (message->nlmsg_type == RTM_NEWADDR || message->nlmsg_type == RTM_DELADDR) {
    if (mnl_nlmsg_get_payload_len(message) < sizeof(ifaddrmsg)) return {};
    std::array<char, IF_NAMESIZE> name{};
    const auto* address = static_cast<const ifaddrmsg*>(mnl_nlmsg_get_payload(message));
    return if_indextoname(address->ifa_index, name.data()) == nullptr ? "" : name.data();
  }
  if (message->nlmsg_type != RTM_NEWLINK && message->nlmsg_type != RTM_DELLINK) return {};
  std::string name;
  mnl_attr_parse(
      message, sizeof(ifinfomsg),
      [](const nlattr* attribute, void* out) {
        if (mnl_attr_get_type(attribute) == IFLA_IFNAME && mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) == 0)
          *static_cast<std::string*>(out) = mnl_attr_get_str(attribute);
        return MNL_CB_OK;
      },
      &name);
  return name;
}

}  // namespace

Result<LinkMonitor> LinkMonitor::open() {
  Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  if (!socket) return sys_fail("netlink: socket");
  sockaddr_nl local{};
  local.nl_family = AF_NETLINK;
  local.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
  if (bind(socket.get(), reinterpret_cast<sockaddr*>(&local), sizeof local) != 0) return sys_fail("netlink: bind");
  return LinkMonitor(std::move(socket));
}

std::set<std::string> LinkMonitor::changed() const {
  std::set<std::string> links;
  std::array<char, 32 << 10> buffer;
  for (;;) {
    const ssize_t received = recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (received < 0 && errno == EINTR) continue;
    if (received < 0 && errno == ENOBUFS) {
      links.insert("");
      continue;
    }
    if (received < 0) return links;
    int left = static_cast<int>(received);
    for (const auto* message = reinterpret_cast<const nlmsghdr*>(buffer.data()); mnl_nlmsg_ok(message, left);
         message = mnl_nlmsg_next(message, &left)) {
      if (auto link = link_of(message); !link.empty()) links.insert(std::move(link));
    }
  }
}

}  // namespace keelson::host
