#include <boost/test/unit_test.hpp>

#include "host/cgroup.h"

BOOST_AUTO_TEST_SUITE(cgroup)

using namespace keelson::host;

BOOST_AUTO_TEST_CASE(cpu_is_converted_as_kubernetes_does) {
  BOOST_TEST(cpu_shares_of_milli(0) == 2u);
  BOOST_TEST(cpu_shares_of_milli(1) == 2u);
  BOOST_TEST(cpu_shares_of_milli(100) == 102u);
  BOOST_TEST(cpu_shares_of_milli(1000) == 1024u);
  BOOST_TEST(cpu_shares_of_milli(1000000) == 262144u);
  BOOST_TEST(cpu_quota_of_milli(0) == 0);
  BOOST_TEST(cpu_quota_of_milli(1) == 1000);  // the kernel's least
  BOOST_TEST(cpu_quota_of_milli(250) == 25000);
  BOOST_TEST(cpu_quota_of_milli(1500) == 150000);
  BOOST_TEST(cpu_weight_of_shares(2) == 1u);
  BOOST_TEST(cpu_weight_of_shares(1024) == 39u);
  BOOST_TEST(cpu_weight_of_shares(262144) == 10000u);
}

BOOST_AUTO_TEST_CASE(hierarchies_are_found_in_mountinfo) {
  auto hybrid = CgroupMounts::parse(
      "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
      "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
      "33 31 0:30 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n"
      "34 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
      "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
      "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
      "50 31 0:32 /some/container /elsewhere rw - cgroup cgroup rw,memory\n");
  BOOST_REQUIRE(hybrid.has_value());
  BOOST_TEST(hybrid->unified == "/sys/fs/cgroup/unified");
  BOOST_REQUIRE(hybrid->v1.size() == 3u);
  BOOST_TEST(hybrid->v1[0].controller == "cpu");
  BOOST_TEST(hybrid->v1[1].controller == "cpuacct");
  BOOST_TEST(hybrid->v1[1].root == "/sys/fs/cgroup/cpu,cpuacct");
  BOOST_TEST(hybrid->v1[2].root == "/sys/fs/cgroup/memory");
  auto unified =
      CgroupMounts::parse("35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n");
  BOOST_REQUIRE(unified.has_value());
  BOOST_TEST(unified->v1.empty());
  BOOST_TEST(!CgroupMounts::parse("31 23 0:28 / / rw - ext4 /dev/vda rw\n").has_value());
  BOOST_TEST(!CgroupMounts::parse("garbage\n - \n\n1 2 3 4 5 -").has_value());
}

BOOST_AUTO_TEST_CASE(a_tree_is_below_the_v2_hierarchy) {
  CgroupMounts mounts{.unified = "/sys/fs/cgroup", .v1 = {}};
  BOOST_TEST(!CgroupTree::create(mounts, "/sys/fs/cgroup").has_value());
  BOOST_TEST(!CgroupTree::create(mounts, "/elsewhere").has_value());
  BOOST_TEST(!CgroupTree::create(mounts, "/sys/fs/cgroup/../escape").has_value());
}

BOOST_AUTO_TEST_SUITE_END()
