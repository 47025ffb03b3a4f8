#include "agent/runtime/users.h"

#include <boost/test/unit_test.hpp>

BOOST_AUTO_TEST_SUITE(users)

namespace {

using keelson::runtime::resolve_user;
using keelson::runtime::UserRequest;

constexpr std::string_view kPasswd =
    "root:x:0:0:root:/root:/bin/sh\n"
    "# a comment\n"
    "broken:x:notanumber:0::/:/bin/sh\n"
    "web:x:1234:1235:Web:/srv/web:/bin/sh\n"
    "short:x:1\n"
    "last:x:77:78::/home/last:/bin/false";
constexpr std::string_view kGroup =
    "root:x:0:\n"
    "web:x:1235:\n"
    "extra:x:1300:other,web\n"
    "almost:x:1301:webber\n"
    "readers:x:1302:web,root";

std::string text(const keelson::host::Result<keelson::runtime::UserIdentity>& identity) {
  if (!identity) return identity.error().message;
  std::string result = std::to_string(identity->uid) + ":" + std::to_string(identity->gid);
  for (const auto gid : identity->groups) result += " " + std::to_string(gid);
  return result + " " + identity->home;
}
std::string resolved(const UserRequest& request) { return text(resolve_user(request, kPasswd, kGroup)); }

}  // namespace

BOOST_AUTO_TEST_CASE(names_and_numbers_are_looked_up_in_the_image) {
  BOOST_TEST(resolved({}) == "0:0 0 1302 /root");
  BOOST_TEST(resolved({.user = "web"}) == "1234:1235 1235 1300 1302 /srv/web");
  BOOST_TEST(resolved({.user = "1234"}) == "1234:1235 1235 1300 1302 /srv/web");
  BOOST_TEST(resolved({.user = "web:extra"}) == "1234:1300 1300 1302 /srv/web");
  BOOST_TEST(resolved({.user = "web:9"}) == "1234:9 9 1300 1302 /srv/web");
  BOOST_TEST(resolved({.user = "last"}) == "77:78 78 /home/last");
}

BOOST_AUTO_TEST_CASE(an_unknown_number_runs_with_group_zero_an_unknown_name_not_at_all) {
  BOOST_TEST(resolved({.user = "4711"}) == "4711:0 0 /");
  BOOST_TEST(resolved({.user = "4711:12"}) == "4711:12 12 /");
  BOOST_TEST(resolved({.user = "nobody"}) == "user \"nobody\": not in the image's /etc/passwd");
  BOOST_TEST(resolved({.user = "broken"}) == "user \"broken\": not in the image's /etc/passwd");
  BOOST_TEST(resolved({.user = "web:nogroup"}) == "group \"nogroup\": not in the image's /etc/group");
  BOOST_TEST(resolved({.user = "4294967295"}) == "user \"4294967295\": not in the image's /etc/passwd");
  BOOST_TEST(text(resolve_user({}, "", "")) == "0:0 0 /");
}

BOOST_AUTO_TEST_CASE(run_as_group_and_supplemental_groups_add_up_without_doubles) {
  BOOST_TEST(resolved({.user = "web", .group = 50, .supplemental = {2000, 50, 1300}}) ==
             "1234:50 50 2000 1300 1302 /srv/web");
  BOOST_TEST(resolved({.user = "web", .group = -1}) == "group -1: out of range");
}

BOOST_AUTO_TEST_CASE(root_is_refused_where_it_must_not_be) {
  const std::string refusal = "container has runAsNonRoot and image will run as root";
  BOOST_TEST(resolved({.must_not_be_root = true}) == refusal);
  BOOST_TEST(resolved({.user = "root", .must_not_be_root = true}) == refusal);
  BOOST_TEST(resolved({.user = "0:5", .must_not_be_root = true}) == refusal);
  BOOST_TEST(resolved({.user = "1", .must_not_be_root = true}) == "1:0 0 /");
}

BOOST_AUTO_TEST_SUITE_END()
