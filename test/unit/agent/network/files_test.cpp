// Allocation files and the sysctls' old values, on directories of the test's own.
#include <boost/test/unit_test.hpp>
#include <cstdlib>

#include "agent/network/allocations.h"
#include "agent/network/forwarding.h"

BOOST_AUTO_TEST_SUITE(network_files)

using namespace keelson::network;
using keelson::api::IpAddress;
namespace host = keelson::host;

namespace {

struct Scratch {
  Scratch() {
    char pattern[] = "/tmp/keelson-unit-XXXXXX";
    directory = mkdtemp(pattern);
  }
  ~Scratch() { std::filesystem::remove_all(directory); }
  void put(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((directory / name).parent_path());
    BOOST_REQUIRE(host::write_file_atomically(directory / name, text).has_value());
  }
  std::string get(const std::string& name) const {
    auto text = host::read_file(directory / name).value_or("(none)");
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
  }
  host::Path directory;
};

// What inet_forward_change and addrconf_forward_change look at and change.
struct FakeSysctls : Scratch {
  FakeSysctls() {
    put("ipv4/ip_forward", "0\n");
    put("ipv4/conf/all/accept_redirects", "0\n");
    for (const auto* interface : {"all", "default", "eth0", "lo"}) {
      put(std::string("ipv4/conf/") + interface + "/forwarding", "0\n");
      put(std::string("ipv6/conf/") + interface + "/forwarding", "0\n");
      put(std::string("ipv6/conf/") + interface + "/accept_ra", "1\n");
      put(std::string("ipv6/conf/") + interface + "/disable_ipv6", "0\n");
    }
  }
  Forwarding forwarding(const char* boot = "boot-1") const { return {directory / "saved", boot, directory}; }
};

Allocation allocation(const std::string& uid, const char* ip, int64_t at) {
  return {uid, {IpAddress::parse(ip).value()}, at};
}

}  // namespace

BOOST_FIXTURE_TEST_CASE(allocations_come_back_oldest_first, Scratch) {
  const AllocationFiles files(directory, "boot-1");
  BOOST_REQUIRE(files.save(allocation("b", "10.0.0.3", 20)).has_value());
  BOOST_REQUIRE(files.save(allocation("a", "fd00::2", 30)).has_value());
  BOOST_REQUIRE(files.save(allocation("c", "10.0.0.4", 10)).has_value());
  BOOST_REQUIRE(files.remove("c").has_value());
  BOOST_REQUIRE(files.remove("c").has_value());
  const auto loaded = files.load().value();
  BOOST_TEST_REQUIRE(loaded.size() == 2u);
  BOOST_TEST(loaded[0].uid == "b");
  BOOST_TEST(loaded[0].ips[0].to_string() == "10.0.0.3");
  BOOST_TEST(loaded[1].ips[0].to_string() == "fd00::2");
}

BOOST_FIXTURE_TEST_CASE(allocations_of_another_boot_and_broken_files_are_removed, Scratch) {
  BOOST_REQUIRE(AllocationFiles(directory, "boot-1").save(allocation("a", "10.0.0.3", 1)).has_value());
  put("broken.json", "{\"bootId\":\"boot-2\",");
  put("renamed.json", "{\"bootId\":\"boot-2\",\"uid\":\"other\",\"ips\":[\"10.0.0.9\"]}");
  put("bad.json", "{\"bootId\":\"boot-2\",\"uid\":\"bad\",\"ips\":[\"10.0.0.999\"]}");
  put("host-state", "not ours to touch");
  BOOST_TEST(AllocationFiles(directory, "boot-2").load().value().empty());
  BOOST_TEST(host::list_directory(directory).value() == std::vector<std::string>{"host-state"},
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_uid_cannot_leave_its_directory) {
  for (const auto* uid : {"", "..", ".hidden", "a/b", "../x", "a b"}) BOOST_TEST(!usable_uid(uid), uid);
  BOOST_TEST(!usable_uid(std::string("a\0b", 3)));
  BOOST_TEST(!usable_uid(std::string(201, 'a')));
  BOOST_TEST(usable_uid("0b2ac6f0-6d4e-4f6c-9a5e-2a6a2f2b9c11"));
  BOOST_TEST(AllocationFiles("/nonexistent/keelson", "boot").load().value().empty());
}

BOOST_FIXTURE_TEST_CASE(forwarding_is_restored_with_all_that_it_changed, FakeSysctls) {
  BOOST_REQUIRE(forwarding().enable(true, true).has_value());
  BOOST_TEST(get("ipv4/ip_forward") == "1");
  BOOST_TEST(get("ipv6/conf/all/forwarding") == "1");
  BOOST_TEST(get("ipv6/conf/eth0/accept_ra") == "2");
  BOOST_TEST(get("ipv6/conf/default/accept_ra") == "1");  // pods' links shall not believe advertisements
  // What the kernel does of its own accord.
  put("ipv4/conf/all/accept_redirects", "1\n");
  put("ipv4/conf/eth0/forwarding", "1\n");
  put("ipv6/conf/eth0/forwarding", "1\n");
  BOOST_REQUIRE(forwarding().enable(true, true).has_value());  // a restart saves nothing anew
  BOOST_REQUIRE(forwarding().restore().has_value());
  for (const auto* name : {"ipv4/ip_forward", "ipv4/conf/all/accept_redirects", "ipv4/conf/eth0/forwarding",
                           "ipv6/conf/all/forwarding", "ipv6/conf/eth0/forwarding"})
    BOOST_TEST(get(name) == "0", name);
  BOOST_TEST(get("ipv6/conf/eth0/accept_ra") == "1");
  BOOST_TEST(get("saved") == "(none)");
  BOOST_TEST(forwarding().restore().has_value());
}

BOOST_FIXTURE_TEST_CASE(old_values_of_another_boot_are_not_restored, FakeSysctls) {
  BOOST_REQUIRE(forwarding("boot-1").enable(true, false).has_value());
  BOOST_REQUIRE(forwarding("boot-2").restore().has_value());
  BOOST_TEST(get("ipv4/ip_forward") == "1");
}

BOOST_FIXTURE_TEST_CASE(ipv4_alone_leaves_ipv6_alone, FakeSysctls) {
  BOOST_REQUIRE(forwarding().enable(true, false).has_value());
  BOOST_TEST(get("ipv6/conf/all/forwarding") == "0");
  BOOST_TEST(get("ipv6/conf/eth0/accept_ra") == "1");
}

BOOST_FIXTURE_TEST_CASE(ipv6_that_is_switched_off_is_an_error_that_says_so, FakeSysctls) {
  put("ipv6/conf/default/disable_ipv6", "1\n");
  const auto refused = forwarding().enable(true, true);
  BOOST_TEST_REQUIRE(!refused.has_value());
  BOOST_TEST(refused.error().message.find("disable_ipv6=0") != std::string::npos);
  BOOST_TEST(get("ipv4/ip_forward") == "0");
}

BOOST_AUTO_TEST_SUITE_END()
