#pragma once
// The syntax of names, keys, ports and addresses in the Kubernetes API, and what
// it says when one is wrong (apimachinery's util/validation).
//
// Each function returns its complaints; none when the text is right.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace keelson::api::syntax {

using Complaints = std::vector<std::string>;

Complaints dns1123_label(std::string_view text);
Complaints dns1123_subdomain(std::string_view text);
Complaints dns1035_label(std::string_view text);
Complaints qualified_name(std::string_view text);  // label keys: example.com/name
Complaints label_value(std::string_view text);
Complaints port_name(std::string_view text);  // IANA_SVC_NAME
Complaints port_number(int64_t port);
Complaints env_name(std::string_view text);
Complaints config_key(std::string_view text);
Complaints http_header_name(std::string_view text);
Complaints ip_address(std::string_view text);
Complaints cidr(std::string_view text);
// An address that traffic may be sent to: not loopback, link-local, multicast, unspecified.
Complaints routable_address(std::string_view text);
// Inside a volume: relative, without "..".
Complaints path_below(std::string_view path);
// A file of a volume: as path_below, and not starting with "..".
Complaints file_below(std::string_view path);

bool is_ipv6(std::string_view address);

}  // namespace keelson::api::syntax
