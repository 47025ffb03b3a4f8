#include "flags/flags.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>

using namespace keelson::flags;
using namespace std::chrono_literals;

namespace {

struct File {
  std::string path = "/tmp/keelson-flags-" + std::to_string(::getpid()) + ".yaml";
  explicit File(const std::string& text) { std::ofstream(path) << text; }
  ~File() { std::filesystem::remove(path); }
};

struct Flags {
  std::string name = "default", other = "other";
  std::vector<std::string> list;
  CLI::App app;
  Flags() {
    app.add_option("--name", name)->take_last();
    app.add_option("--other", other)->take_last();
    app.add_option("--list", list)->delimiter(',');
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(durations_are_read_as_go_writes_them) {
  BOOST_TEST((parse_duration("20s").value() == 20s));
  BOOST_TEST((parse_duration("1m30s").value() == 90s));
  BOOST_TEST((parse_duration("500ms").value() == 500ms));
  BOOST_TEST((parse_duration("2h").value() == 2h));
  for (const char* bad : {"", "20", "s", "-1s", "0s", "1d", "1 s", "99999999999s"}) {
    BOOST_TEST(!parse_duration(bad).has_value(), bad);
  }
}

BOOST_AUTO_TEST_CASE(lists_are_split_at_commas_and_trimmed) {
  BOOST_TEST((split_list(" a, b,,c ") == std::vector<std::string>{"a", "b", "c"}));
  BOOST_TEST(split_list(" , ").empty());
}

BOOST_AUTO_TEST_CASE(the_command_line_comes_before_the_file_and_the_file_before_the_default) {
  const File file("name: file\nother: file\nlist: [a, b]\n");
  Flags flags;
  flags.app.parse("--name line");
  BOOST_TEST(apply_file(flags.app, file.path, true).has_value());
  BOOST_TEST(flags.name == "line");
  BOOST_TEST(flags.other == "file");
  BOOST_TEST((flags.list == std::vector<std::string>{"a", "b"}));
}

BOOST_AUTO_TEST_CASE(a_setting_that_does_not_exist_is_refused_with_its_line) {
  const File file("name: file\n\nnmae: x\n");
  Flags flags;
  const auto applied = apply_file(flags.app, file.path, true);
  BOOST_REQUIRE(!applied);
  BOOST_TEST(applied.error().message == file.path + ":3: unknown setting \"nmae\"");
}

BOOST_AUTO_TEST_CASE(a_file_that_is_no_map_or_not_there_is_refused_when_it_was_asked_for) {
  Flags flags;
  BOOST_TEST(!apply_file(flags.app, "/nonexistent/flags.yaml", true).has_value());
  BOOST_TEST(apply_file(flags.app, "/nonexistent/flags.yaml", false).has_value());
  BOOST_TEST(apply_file(flags.app, "", true).has_value());
  BOOST_TEST(!apply_file(flags.app, File("- a\n").path, true).has_value());
  BOOST_TEST(!apply_file(flags.app, File("name: {a: b}\n").path, true).has_value());
  BOOST_TEST(!apply_file(flags.app, File("name: [\n").path, true).has_value());
}
