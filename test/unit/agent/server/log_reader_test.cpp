#include "agent/server/log_reader.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <boost/test/unit_test.hpp>
#include <fstream>

BOOST_AUTO_TEST_SUITE(log_reader_tests)

using keelson::server::LogFormatter;
using keelson::server::LogOptions;
using keelson::server::LogReader;
using keelson::server::parse_log_line;
namespace host = keelson::host;
namespace fs = std::filesystem;

namespace {

struct Directory {
  Directory() {
    char name[] = "/tmp/keelson-log-XXXXXX";
    path = mkdtemp(name);
  }
  ~Directory() { fs::remove_all(path); }
  host::Path file() const { return path / "0.log"; }
  host::Path rotated(int n) const { return fmt::format("{}.{}", file().string(), n); }
  fs::path path;
};

std::string line(int second, const std::string& text, char tag = 'F', const char* stream = "stdout") {
  return fmt::format("2026-01-02T03:04:{:02}.123456789Z {} {} {}\n", second, stream, tag, text);
}

void append(const fs::path& file, const std::string& text) { std::ofstream(file, std::ios::app) << text; }

// What the runtime does at its limit: .1 → .2, the file → .1, a new file.
void rotate(const Directory& directory) {
  for (int n = 4; n >= 1; --n) {
    if (fs::exists(directory.rotated(n))) fs::rename(directory.rotated(n), directory.rotated(n + 1));
  }
  fs::rename(directory.file(), directory.rotated(1));
  append(directory.file(), "");
}

std::string all(LogReader& reader, size_t step = 1u << 20) {
  std::string out;
  while (true) {
    const auto end = reader.read(out, step);
    BOOST_REQUIRE_MESSAGE(end.has_value(), (end ? "" : end.error().message));
    if (*end) return out;
  }
}

std::string read_all(const Directory& directory, LogOptions options = {}) {
  LogReader reader(directory.file(), std::move(options));
  return all(reader);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_cri_line_is_taken_apart) {
  const auto parsed = parse_log_line("2026-01-02T03:04:05.123456789Z stderr P half a line ");
  BOOST_REQUIRE(parsed.has_value());
  BOOST_TEST(parsed->time == "2026-01-02T03:04:05.123456789Z");
  BOOST_TEST(parsed->stream == "stderr");
  BOOST_TEST(!parsed->full);
  BOOST_TEST(parsed->text == "half a line ");
  BOOST_TEST(parse_log_line("2026-01-02T03:04:05.123456789Z stdout F ")->text.empty());
  BOOST_TEST(parse_log_line("2026-01-02T03:04:05.123456789Z stdout P:x text")->full == false);
}

BOOST_AUTO_TEST_CASE(torn_lines_are_skipped) {
  for (const char* text : {"", "x", "2026-01-02T03:04:05.1Z", "2026-01-02T03:04:05.123Z stdxxx F a",
                           "2026-01-02T03:04:05.123Z stdout", "456789Z stdout F a"}) {
    BOOST_TEST(!parse_log_line(text).has_value(), text);
  }
  Directory directory;
  append(directory.file(), line(1, "a") + "garbage\n" + line(2, "b"));
  BOOST_TEST(read_all(directory) == "a\nb\n");
}

BOOST_AUTO_TEST_CASE(parts_become_one_line_again) {
  Directory directory;
  append(directory.file(), line(1, "one, ", 'P') + line(1, "two", 'F') + line(2, "three"));
  BOOST_TEST(read_all(directory) == "one, two\nthree\n");
  BOOST_TEST(read_all(directory, {.timestamps = true}) ==
             "2026-01-02T03:04:01.123456789Z one, two\n2026-01-02T03:04:02.123456789Z three\n");
  BOOST_TEST(read_all(directory, {.tail_lines = 2}) == "one, two\nthree\n");
}

BOOST_AUTO_TEST_CASE(a_line_without_its_end_waits_for_it) {
  Directory directory;
  const auto whole = line(1, "whole");
  append(directory.file(), whole.substr(0, 40));
  LogReader reader(directory.file(), {});
  BOOST_TEST(all(reader).empty());
  append(directory.file(), whole.substr(40));
  BOOST_TEST(all(reader) == "whole\n");
}

BOOST_AUTO_TEST_CASE(rotated_files_are_read_oldest_first) {
  Directory directory;
  append(directory.rotated(2), line(1, "a"));
  append(directory.rotated(1), line(2, "b") + line(3, "c"));
  append(directory.file(), line(4, "d"));
  BOOST_TEST(read_all(directory) == "a\nb\nc\nd\n");
  BOOST_TEST(read_all(directory, {.tail_lines = 1}) == "d\n");
  BOOST_TEST(read_all(directory, {.tail_lines = 2}) == "c\nd\n");
  BOOST_TEST(read_all(directory, {.tail_lines = 4}) == "a\nb\nc\nd\n");
  BOOST_TEST(read_all(directory, {.tail_lines = 100}) == "a\nb\nc\nd\n");
  BOOST_TEST(read_all(directory, {.tail_lines = 0}).empty());
}

BOOST_AUTO_TEST_CASE(since_and_limit_cut_the_output) {
  Directory directory;
  append(directory.file(), line(1, "a") + line(2, "b") + line(3, "c"));
  BOOST_TEST(read_all(directory, {.since = "2026-01-02T03:04:02"}) == "b\nc\n");
  BOOST_TEST(read_all(directory, {.limit_bytes = 3}) == "a\nb");
  BOOST_TEST(read_all(directory, {.tail_lines = 2, .limit_bytes = 1}) == "b");
}

BOOST_AUTO_TEST_CASE(reading_goes_on_through_rotation) {
  Directory directory;
  append(directory.file(), line(1, "a"));
  LogReader reader(directory.file(), {});
  BOOST_TEST(all(reader) == "a\n");
  append(directory.file(), line(2, "b"));
  rotate(directory);
  append(directory.file(), line(3, "c"));
  rotate(directory);
  append(directory.file(), line(4, "d"));
  BOOST_TEST(all(reader) == "b\nc\nd\n");
  append(directory.file(), line(5, "e"));
  BOOST_TEST(all(reader) == "e\n");
}

BOOST_AUTO_TEST_CASE(a_reader_that_fell_behind_goes_on_with_the_oldest_file) {
  Directory directory;
  append(directory.file(), line(1, "a"));
  LogReader reader(directory.file(), {});
  BOOST_TEST(all(reader) == "a\n");
  rotate(directory);
  append(directory.file(), line(2, "b"));
  fs::remove(directory.rotated(1));  // ours, past the last number
  BOOST_TEST(all(reader) == "b\n");
}

BOOST_AUTO_TEST_CASE(a_log_emptied_in_place_is_read_from_its_start) {
  Directory directory;
  append(directory.file(), line(1, "a long line of text"));
  LogReader reader(directory.file(), {});
  all(reader);
  fs::resize_file(directory.file(), 0);
  append(directory.file(), line(2, "b"));
  BOOST_TEST(all(reader) == "b\n");
}

BOOST_AUTO_TEST_CASE(output_comes_in_pieces_of_about_the_size_asked_for) {
  Directory directory;
  std::string expected;
  for (int i = 0; i < 20'000; ++i) {
    append(directory.file(), line(i % 60, fmt::format("line {}", i)));
    expected += fmt::format("line {}\n", i);
  }
  LogReader reader(directory.file(), {});
  std::string first;
  BOOST_TEST(reader.read(first, 1000).value() == false);
  BOOST_TEST(first.size() < 128u << 10);
  BOOST_TEST((first + all(reader, 1000) == expected));
}

BOOST_AUTO_TEST_CASE(what_is_no_regular_file_is_not_opened) {
  Directory directory;
  BOOST_REQUIRE(mkfifo(directory.file().c_str(), 0600) == 0);
  LogReader fifo(directory.file(), {});
  std::string out;
  BOOST_TEST(!fifo.read(out, 100).has_value());
  fs::remove(directory.file());
  fs::create_symlink("/etc/passwd", directory.file());
  LogReader link(directory.file(), {});
  BOOST_TEST(!link.read(out, 100).has_value());
  BOOST_TEST(out.empty());
}

BOOST_AUTO_TEST_CASE(no_log_at_all_is_not_found) {
  Directory directory;
  LogReader reader(directory.file(), {});
  std::string out;
  const auto result = reader.read(out, 100);
  BOOST_REQUIRE(!result.has_value());
  BOOST_TEST((result.error().code == host::Error::Code::not_found));
}

BOOST_AUTO_TEST_SUITE_END()
