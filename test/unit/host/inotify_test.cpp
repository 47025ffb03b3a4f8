#include "host/inotify.h"

#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <fstream>
#include <thread>

BOOST_AUTO_TEST_SUITE(inotify_tests)

using namespace keelson::host;
using namespace std::chrono_literals;

namespace {

struct Watched {
  std::unique_ptr<Loop> loop = Loop::create(1);
  Path root;
  int calls = 0;
  Watched() {
    char name[] = "/tmp/keelson-inotify-test-XXXXXX";
    root = ::mkdtemp(name);
  }
  ~Watched() { std::filesystem::remove_all(root); }
  void watch(const Path& directory) {
    auto made = DirectoryWatch::create(*loop, directory, [this] {
      ++calls;
      loop->stop();
    });
    BOOST_REQUIRE(made);
    watch_ = std::move(*made);
  }
  // Runs until the next call, 2 s at most.
  void run() {
    const Timer timeout = loop->after(2s, [this] { loop->stop(); });
    loop->run();
  }
  std::unique_ptr<DirectoryWatch> watch_;
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(a_written_file_is_told, Watched) {
  watch(root);
  std::ofstream(root / "a") << "x";
  run();
  BOOST_TEST(calls == 1);
}

BOOST_FIXTURE_TEST_CASE(a_complete_file_is_told_at_once_and_its_temporary_one_never, Watched) {
  watch(root);
  std::ofstream(root / ".a.tmp") << "x";
  const Timer soon = loop->after(20ms, [this] { loop->stop(); });
  loop->run();
  BOOST_TEST(calls == 0);
  auto least = Duration::max();
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(6ms);  // past the last call
    std::ofstream(root / ".a.tmp") << "x";
    const auto before = Clock::now();
    std::filesystem::rename(root / ".a.tmp", root / "a");
    run();
    least = std::min(least, Clock::now() - before);
  }
  BOOST_TEST(calls == 20);
  BOOST_TEST((least < 4ms));
}

BOOST_FIXTURE_TEST_CASE(the_gap_between_a_file_moved_away_and_its_replacement_is_not_told, Watched) {
  watch(root);
  std::ofstream(root / "a") << "x";
  run();
  std::this_thread::sleep_for(6ms);  // past the last call
  bool gap = false;
  auto made = DirectoryWatch::create(*loop, root, [&] {
    gap = gap || !std::filesystem::exists(root / "a");
    loop->stop();
  });
  BOOST_REQUIRE(made);
  std::filesystem::rename(root / "a", root / "a~");
  const Timer editor = loop->after(1ms, [this] { std::ofstream(root / "a") << "y"; });
  run();
  BOOST_TEST(!gap);
}

BOOST_FIXTURE_TEST_CASE(a_link_that_swaps_the_whole_content_is_told, Watched) {
  std::filesystem::create_directory(root / "..1");
  std::filesystem::create_symlink("..1", root / "..data_tmp");
  watch(root);
  std::filesystem::rename(root / "..data_tmp", root / "..data");
  run();
  BOOST_TEST(calls == 1);
}

BOOST_FIXTURE_TEST_CASE(a_directory_that_comes_later_is_watched_from_then_on, Watched) {
  watch(root / "x/y");
  std::filesystem::create_directories(root / "x/y");
  run();
  BOOST_TEST(calls == 1);
  std::ofstream(root / "x/y/a") << "x";
  run();
  BOOST_TEST(calls == 2);
}

BOOST_FIXTURE_TEST_CASE(a_directory_that_goes_and_returns_is_watched_again, Watched) {
  std::filesystem::create_directory(root / "d");
  watch(root / "d");
  std::filesystem::remove_all(root / "d");
  run();
  BOOST_TEST(calls == 1);
  std::filesystem::create_directory(root / "d");
  run();
  std::ofstream(root / "d/a") << "x";
  run();
  BOOST_TEST(calls >= 3);
}

BOOST_FIXTURE_TEST_CASE(a_file_in_the_directorys_place_is_waited_out, Watched) {
  std::ofstream(root / "d") << "a file";
  watch(root / "d");
  std::filesystem::remove(root / "d");
  std::filesystem::create_directory(root / "d");
  run();
  BOOST_TEST(calls == 1);
  std::ofstream(root / "d/a") << "x";
  run();
  BOOST_TEST(calls == 2);
}

BOOST_AUTO_TEST_SUITE_END()
