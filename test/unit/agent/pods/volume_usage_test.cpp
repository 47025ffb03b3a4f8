#include "agent/pods/volume_usage.h"

#include <stdlib.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>

#include "test/unit/agent/pods/node.h"

using namespace keelson::pods;
using namespace std::chrono_literals;
using keelson::pods::test::Node;

namespace {

struct Tree {
  std::filesystem::path path;
  Tree() {
    char pattern[] = "/tmp/keelson-usage-XXXXXX";
    path = mkdtemp(pattern);
  }
  ~Tree() { std::filesystem::remove_all(path); }
  void write(const std::filesystem::path& name, size_t size) const {
    std::filesystem::create_directories((path / name).parent_path());
    std::ofstream(path / name) << std::string(size, 'x');
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(volume_usage)

BOOST_AUTO_TEST_CASE(blocks_are_counted_once_whatever_leads_to_them) {
  Tree tree;
  const auto usage = [&tree] { return disk_usage(tree.path, UINT64_MAX).value(); };
  const auto before = usage();
  tree.write("a/b/file", 1 << 20);
  const auto with_file = usage();
  BOOST_TEST(with_file - before >= 1U << 20);
  BOOST_TEST(with_file - before < (1U << 20) + 65536);
  std::filesystem::create_hard_link(tree.path / "a/b/file", tree.path / "again");
  std::filesystem::create_directory_symlink("/", tree.path / "out");
  BOOST_TEST(usage() - with_file < 65536U);
}

BOOST_AUTO_TEST_CASE(counting_ends_when_it_is_enough_and_bears_any_depth) {
  Tree tree;
  for (int i = 0; i < 10; ++i) tree.write("file" + std::to_string(i), 1 << 20);
  const auto usage = disk_usage(tree.path, 1 << 20).value();
  BOOST_TEST(usage > 1U << 20);
  BOOST_TEST(usage < 4U << 20);
  std::filesystem::path deep = tree.path;
  for (int i = 0; i < 300; ++i) deep /= "d";
  std::filesystem::create_directories(deep);
  BOOST_TEST(disk_usage(tree.path, UINT64_MAX).has_value());
  BOOST_TEST(!disk_usage(tree.path / "missing", 1).has_value());
}

BOOST_AUTO_TEST_CASE(a_pod_whose_volume_outgrows_its_limit_is_evicted) {
  Node node;
  auto pod = keelson::pods::test::make_pod("web", {keelson::pods::test::make_container("main")});
  keelson::api::Volume volume;
  volume.name = "cache";
  volume.source.empty_dir.emplace().size_limit = keelson::api::Quantity{"1Mi"};
  pod.spec.volumes = {volume};
  node.want({pod});
  node.advance(25s);
  BOOST_TEST(node.status("web").phase == "Running");
  const auto directory = node.directory / "root/pods/uid-web/volumes/empty-dir/cache";
  BOOST_REQUIRE(std::filesystem::exists(directory));
  std::ofstream(directory / "file") << std::string(2 << 20, 'x');
  node.advance(15s);
  BOOST_TEST(node.status("web").phase == "Failed");
  BOOST_TEST(node.status("web").reason == "Evicted");
  BOOST_TEST(node.status("web").message == "Usage of EmptyDir volume \"cache\" exceeds the limit \"1Mi\". ");
}

BOOST_AUTO_TEST_SUITE_END()
