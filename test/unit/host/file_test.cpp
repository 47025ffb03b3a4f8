#include "host/file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <fstream>

BOOST_AUTO_TEST_SUITE(file_tests)

using namespace keelson::host;

namespace {

struct ScratchDirectory {
  Path path;
  ScratchDirectory() {
    char name[] = "/tmp/keelson-file-test-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~ScratchDirectory() { std::filesystem::remove_all(path); }
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(an_atomic_write_replaces_the_content_and_leaves_no_temporary, ScratchDirectory) {
  BOOST_REQUIRE(write_file_atomically(path / "f", "old", 0600));
  BOOST_REQUIRE(write_file_atomically(path / "f", "new", 0640));
  BOOST_TEST(*read_file(path / "f") == "new");
  struct stat status{};
  BOOST_REQUIRE(::stat((path / "f").c_str(), &status) == 0);
  BOOST_TEST((status.st_mode & 0777) == 0640U);
  BOOST_TEST(list_directory(path)->size() == 1U);
}

BOOST_FIXTURE_TEST_CASE(a_failed_atomic_write_leaves_the_old_file, ScratchDirectory) {
  BOOST_REQUIRE(write_file_atomically(path / "f", "old"));
  std::filesystem::create_directory(path / "d");
  BOOST_TEST(!write_file_atomically(path / "d", "x").has_value());
  BOOST_TEST(list_directory(path)->size() == 2U);
}

BOOST_FIXTURE_TEST_CASE(reading_more_than_the_limit_is_refused, ScratchDirectory) {
  std::ofstream(path / "big") << std::string(100, 'x');
  BOOST_TEST(read_file(path / "big", 100).has_value());
  auto read = read_file(path / "big", 99);
  BOOST_REQUIRE(!read);
  BOOST_TEST((read.error().code == Error::Code::invalid));
}

BOOST_FIXTURE_TEST_CASE(a_fifo_is_refused_and_does_not_hang, ScratchDirectory) {
  BOOST_REQUIRE(::mkfifo((path / "fifo").c_str(), 0600) == 0);
  BOOST_TEST(!read_file(path / "fifo").has_value());
}

BOOST_AUTO_TEST_CASE(a_missing_file_is_not_found) {
  BOOST_TEST((read_file("/nonexistent/x").error().code == Error::Code::not_found));
}

BOOST_FIXTURE_TEST_CASE(removing_a_tree_does_not_follow_symlinks, ScratchDirectory) {
  std::filesystem::create_directories(path / "keep");
  std::ofstream(path / "keep/file") << "x";
  std::filesystem::create_directories(path / "go/deep/er");
  std::filesystem::create_symlink(path / "keep", path / "go/deep/link");
  BOOST_REQUIRE(remove_tree(path / "go"));
  BOOST_TEST(!std::filesystem::exists(path / "go"));
  BOOST_TEST(std::filesystem::exists(path / "keep/file"));
  BOOST_TEST(remove_tree(path / "go").has_value(), "removing what is gone is success");
}

BOOST_AUTO_TEST_CASE(a_mount_point_is_not_removed) {
  // /proc is a mount in every environment the tests run in; nothing of it may be touched.
  BOOST_TEST(!remove_tree("/proc").has_value());
}

BOOST_FIXTURE_TEST_CASE(directories_are_made_with_their_parents, ScratchDirectory) {
  BOOST_TEST(make_directories(path / "a/b/c").has_value());
  BOOST_TEST(make_directories(path / "a/b/c").has_value());
  std::ofstream(path / "file") << "x";
  BOOST_TEST(!make_directories(path / "file/d").has_value());
}

BOOST_AUTO_TEST_SUITE_END()
