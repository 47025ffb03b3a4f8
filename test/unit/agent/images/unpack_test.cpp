// Layers, honest and hostile, unpacked into a scratch directory.
#include "agent/images/puller/unpack.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <boost/test/unit_test.hpp>
#include <set>

#include "crafted.h"

namespace keelson::images {
BOOST_AUTO_TEST_SUITE(unpack_tests)
namespace {

using namespace test;

struct Fixture {
  ScratchDirectory scratch;
  Budget budget{1 << 30, 10'000};
  UnpackLimits limits;
  std::filesystem::path root = scratch.path() / "root";
  std::filesystem::path canary = scratch.path() / "canary";

  Fixture() { write_file(canary / "file", "untouched"); }
  ~Fixture() { BOOST_TEST(read_file(canary / "file") == "untouched"); }

  host::Result<UnpackedLayer> unpack_blob(const std::string& blob, const ExpectedLayer& expected,
                                          size_t step = SIZE_MAX) {
    StringSource source(blob, step);
    return unpack_layer(source, expected, scratch.open("root"), budget, limits);
  }
  host::Result<UnpackedLayer> unpack(const Tar& tar) {
    std::string bytes = tar.bytes();
    return unpack_blob(bytes, {sha256(bytes), bytes.size(), sha256(bytes)});
  }
  void refused(const Tar& tar, std::string_view why) {
    auto layer = unpack(tar);
    BOOST_TEST_REQUIRE(!layer.has_value(), why);
    BOOST_TEST((layer.error().code == host::Error::Code::invalid), layer.error().message);
    BOOST_TEST(layer.error().message.find(why) != std::string::npos,
               layer.error().message + " should tell: " + std::string(why));
  }
  void fine(const Tar& tar) {
    auto layer = unpack(tar);
    BOOST_TEST_REQUIRE(layer.has_value(), (layer ? "" : layer.error().message));
    opaque = layer->opaque;
  }
  struct stat info(const std::string& path) {
    struct stat info{};
    BOOST_TEST(lstat((root / path).c_str(), &info) == 0, path);
    return info;
  }
  bool is_whiteout(const std::string& path) {
    auto found = info(path);
    return S_ISCHR(found.st_mode) && found.st_rdev == 0;
  }
  bool exists(const std::string& path) { return std::filesystem::exists(std::filesystem::symlink_status(root / path)); }
  std::set<std::string> opaque;
};

BOOST_FIXTURE_TEST_SUITE(unpacking, Fixture)

BOOST_AUTO_TEST_CASE(files_directories_and_links_come_out_as_they_went_in) {
  fine(Tar()
           .directory("./", 0751)
           .directory("etc", 0711)
           .file("etc/passwd", "root", 0600)
           .file("bin/su", "s", 04755)
           .symlink("sh", "/bin/su")
           .symlink("up", "../../outside")
           .hardlink("etc/same", "etc/passwd"));
  BOOST_TEST(read_file(root / "etc/passwd") == "root");
  BOOST_TEST((info("etc/passwd").st_mode & 07777) == 0600u);
  BOOST_TEST((info("bin/su").st_mode & 07777) == 04755u);
  BOOST_TEST((info("etc").st_mode & 07777) == 0711u);
  BOOST_TEST((info("bin").st_mode & 07777) == 0755u);  // made because a file is in it
  BOOST_TEST((info(".").st_mode & 07777) == 0751u);
  BOOST_TEST(info("etc/passwd").st_mtim.tv_sec == 1'000'000'000);
  BOOST_TEST(info("etc").st_mtim.tv_sec == 1'000'000'000);
  BOOST_TEST(info("etc/same").st_ino == info("etc/passwd").st_ino);
  BOOST_TEST(std::filesystem::read_symlink(root / "sh") == "/bin/su");
  BOOST_TEST(std::filesystem::read_symlink(root / "up") == "../../outside");
}

BOOST_AUTO_TEST_CASE(names_beyond_ascii_and_long_ones_are_kept) {
  std::string longer = std::string(120, 'd') + "/" + std::string(200, 'f');
  fine(Tar().file("ü/日本", "x").file(longer, "y").file("latin\xe9", "z"));
  BOOST_TEST(read_file(root / "ü/日本") == "x");
  BOOST_TEST(read_file(root / longer) == "y");
  BOOST_TEST(read_file(root / "latin\xe9") == "z");
}

BOOST_AUTO_TEST_CASE(gzip_zstd_and_several_gzip_members_are_read_in_small_steps) {
  std::string tar = Tar().file("a", std::string(200'000, 'q')).bytes();
  size_t half = tar.size() / 2;
  for (const auto& blob : {gzip(tar), zstd(tar), gzip(tar.substr(0, half)) + gzip(tar.substr(half)), tar}) {
    std::filesystem::remove_all(root);
    auto layer = unpack_blob(blob, {sha256(blob), blob.size(), sha256(tar)}, 7);
    BOOST_TEST_REQUIRE(layer.has_value(), (layer ? "" : layer.error().message));
    BOOST_TEST(layer->bytes == 200'000u);
    BOOST_TEST(read_file(root / "a").size() == 200'000u);
  }
}

BOOST_AUTO_TEST_CASE(an_empty_layer_is_fine) {
  std::string tar(1024, '\0');
  BOOST_TEST(unpack_blob(gzip(tar), {std::nullopt, 0, sha256(tar)}).has_value());
}

BOOST_AUTO_TEST_CASE(a_later_entry_replaces_an_earlier_one) {
  fine(Tar()
           .file("a", "old")
           .file("a", "new")
           .directory("d")
           .file("d/x")
           .file("d", "now a file")
           .symlink("l", "canary")
           .file("l", "f"));
  BOOST_TEST(read_file(root / "a") == "new");
  BOOST_TEST(read_file(root / "d") == "now a file");
  BOOST_TEST(std::filesystem::is_regular_file(std::filesystem::symlink_status(root / "l")));
}

BOOST_AUTO_TEST_CASE(a_directory_that_is_replaced_is_not_written_into_by_the_cache) {
  fine(Tar().file("d/e/x", "1").file("d", "file").directory("d").file("d/e/y", "2"));
  BOOST_TEST(!exists("d/e/x"));
  BOOST_TEST(read_file(root / "d/e/y") == "2");
}

BOOST_AUTO_TEST_CASE(writing_to_a_hard_link_again_leaves_the_other_name_alone) {
  fine(Tar().file("a", "old").hardlink("b", "a").file("b", "new"));
  BOOST_TEST(read_file(root / "a") == "old");
  BOOST_TEST(read_file(root / "b") == "new");
}

// ---- whiteouts

BOOST_AUTO_TEST_CASE(whiteouts_become_devices_and_opaque_directories_are_listed) {
  fine(Tar().directory("etc").file("etc/.wh.gone", "").file("var/cache/.wh..wh..opq", "").file(".wh.top", ""));
  BOOST_TEST(is_whiteout("etc/gone"));
  BOOST_TEST(is_whiteout("top"));
  BOOST_TEST(opaque == std::set<std::string>{"var/cache"}, boost::test_tools::per_element());
  BOOST_TEST(exists("var/cache"));
  BOOST_TEST(!exists("etc/.wh.gone"));
}

BOOST_AUTO_TEST_CASE(a_whiteout_hides_what_is_below_but_not_what_the_layer_brings) {
  fine(Tar().directory("d").file("d/new").file(".wh.d", "").file("f", "mine").file(".wh.f", ""));
  BOOST_TEST(exists("d/new"));
  BOOST_TEST(opaque.contains("d"));
  BOOST_TEST(read_file(root / "f") == "mine");
}

BOOST_AUTO_TEST_CASE(a_directory_made_after_its_whiteout_is_opaque) {
  fine(Tar().file(".wh.d", "").directory("d").file("d/a").file(".wh.e", "").file("e/f"));
  BOOST_TEST(exists("d/a"));
  BOOST_TEST(exists("e/f"));
  BOOST_TEST(opaque.contains("d"));
  BOOST_TEST(opaque.contains("e"));
}

BOOST_AUTO_TEST_CASE(an_opaque_root_is_listed_as_dot_and_aufs_bookkeeping_is_left_out) {
  fine(Tar().file(".wh..wh..opq", "").file(".wh..wh.plnk", "").file(".wh..wh.aufs", ""));
  BOOST_TEST(opaque.contains("."));
  BOOST_TEST(std::filesystem::is_empty(root));
}

BOOST_AUTO_TEST_CASE(whiteouts_of_dot_and_dot_dot_are_refused) {
  for (const char* name : {".wh.", "a/.wh..", "a/.wh..."}) {
    std::filesystem::remove_all(root);
    refused(Tar().file(name, ""), "is no whiteout");
  }
  refused(Tar().file("a/.wh.b/c", ""), "goes through a whiteout");
}

// ---- attacks

BOOST_AUTO_TEST_CASE(paths_that_go_up_are_refused) {
  refused(Tar().file("../canary/file", "evil"), "\"..\"");
  refused(Tar().file("a/../../canary/file", "evil"), "\"..\"");
  refused(Tar().directory(".."), "\"..\"");
  refused(Tar().file("../canary/.wh.file", ""), "\"..\"");
}

BOOST_AUTO_TEST_CASE(absolute_paths_are_refused) { refused(Tar().file(canary / "file", "evil"), "is absolute"); }

BOOST_AUTO_TEST_CASE(nothing_is_written_through_a_symbolic_link) {
  for (const auto& target : {canary.string(), std::string("../canary"), std::string(".")}) {
    std::filesystem::remove_all(root);
    refused(Tar().symlink("l", target).file("l/file", "evil"), "is a symbolic link");
    std::filesystem::remove_all(root);
    refused(Tar().symlink("l", target).directory("l/sub"), "is a symbolic link");
    std::filesystem::remove_all(root);
    refused(Tar().symlink("l", target).symlink("l/file", "x"), "is a symbolic link");
  }
  std::filesystem::remove_all(root);
  fine(Tar().symlink("l", (canary / "file").string()).file("l", "replaces the link"));
}

BOOST_AUTO_TEST_CASE(a_directory_replaced_by_a_link_is_not_followed) {
  refused(Tar().file("d/a").symlink("d", canary.string()).file("d/file", "evil"), "is a symbolic link");
}

BOOST_AUTO_TEST_CASE(a_directory_entry_over_a_link_replaces_the_link) {
  fine(Tar().symlink("l", canary.string()).directory("l", 0700).file("l/file", "mine"));
  BOOST_TEST(read_file(root / "l/file") == "mine");
}

BOOST_AUTO_TEST_CASE(whiteouts_and_opaque_markers_do_not_go_through_a_symbolic_link) {
  refused(Tar().symlink("l", canary.string()).file("l/.wh.file", ""), "is a symbolic link");
  std::filesystem::remove_all(root);
  refused(Tar().symlink("l", canary.string()).file("l/.wh..wh..opq", ""), "is a symbolic link");
}

BOOST_AUTO_TEST_CASE(hard_links_stay_in_the_layer) {
  refused(Tar().hardlink("a", "../canary/file"), "\"..\"");
  refused(Tar().hardlink("a", canary / "file"), "is absolute");
  std::filesystem::remove_all(root);
  refused(Tar().symlink("l", canary.string()).hardlink("a", "l/file"), "is a symbolic link");
  std::filesystem::remove_all(root);
  refused(Tar().file("f").symlink("l", canary.string()).hardlink("l/new", "f"), "is a symbolic link");
  std::filesystem::remove_all(root);
  refused(Tar().hardlink("a", "nowhere"), "is not in this layer");
  refused(Tar().directory("d").hardlink("a", "d"), "is no file");
}

BOOST_AUTO_TEST_CASE(a_hard_link_to_a_symbolic_link_links_the_link) {
  fine(Tar().symlink("l", canary / "file").hardlink("m", "l"));
  BOOST_TEST(std::filesystem::is_symlink(std::filesystem::symlink_status(root / "m")));
}

BOOST_AUTO_TEST_CASE(devices_and_fifos_are_refused_but_left_out_of_dev) {
  refused(Tar().device("disk", true), "it is a device node");
  refused(Tar().device("etc/null"), "it is a device node");
  refused(Tar().fifo("pipe"), "it is a FIFO");
  std::filesystem::remove_all(root);
  fine(Tar().directory("dev").device("dev/null").device("dev/sda", true).fifo("dev/initctl"));
  BOOST_TEST(std::filesystem::is_empty(root / "dev"));
}

BOOST_AUTO_TEST_CASE(attributes_that_overlayfs_reads_are_not_taken_from_the_archive) {
  fine(Tar()
           .directory("d")
           .xattr("trusted.overlay.opaque", "y")
           .xattr("user.overlay.opaque", "y")
           .xattr("user.mine", "1"));
  char value[8];
  BOOST_TEST(getxattr((root / "d").c_str(), "trusted.overlay.opaque", value, sizeof value) < 0);
  BOOST_TEST(getxattr((root / "d").c_str(), "user.overlay.opaque", value, sizeof value) < 0);
}

BOOST_AUTO_TEST_CASE(sparse_bombs_are_refused_before_they_exist) {
  budget.bytes = 1 << 20;
  refused(Tar().sparse("s", 64 << 20), "larger than is allowed");
  BOOST_TEST(!exists("s"));
}

BOOST_AUTO_TEST_CASE(sparse_files_keep_their_holes) {
  fine(Tar().sparse("s", 8 << 20));
  BOOST_TEST(info("s").st_size == 8 << 20);
  BOOST_TEST(info("s").st_blocks * 512 < 1 << 20);
  BOOST_TEST(read_file(root / "s").substr((8 << 20) - 3) == "end");
}

BOOST_AUTO_TEST_CASE(too_many_bytes_are_refused) {
  budget.bytes = 100;
  refused(Tar().file("a", std::string(60, 'x')).file("b", std::string(60, 'x')), "larger than is allowed");
}

BOOST_AUTO_TEST_CASE(too_many_files_are_refused) {
  budget.inodes = 10;
  Tar links, directories;
  links.file("f");
  for (int i = 0; i < 12; ++i) links.hardlink("l" + std::to_string(i), "f");
  refused(links, "more files than are allowed");
  std::filesystem::remove_all(root);
  budget.inodes = 10;
  refused(directories.file("1/2/3/4/5/6/7/8/9/10/11/12"), "more files than are allowed");
}

BOOST_AUTO_TEST_CASE(compression_bombs_are_refused) {
  limits.ratio_free = 1 << 20;
  std::string tar = Tar().file("zeros", std::string(32 << 20, '\0')).bytes();
  for (const auto& blob : {gzip(tar), zstd(tar)}) {
    auto layer = unpack_blob(blob, {sha256(blob), blob.size(), sha256(tar)});
    BOOST_TEST_REQUIRE(!layer.has_value());
    BOOST_TEST(layer.error().message.find("compression bomb") != std::string::npos, layer.error().message);
    std::filesystem::remove_all(root);
  }
}

BOOST_AUTO_TEST_CASE(a_bomb_behind_the_end_of_the_archive_is_found_too) {
  limits.ratio_free = 1 << 20;
  std::string tar = Tar().file("a").bytes() + std::string(64 << 20, '\0');
  std::string blob = gzip(tar);
  auto layer = unpack_blob(blob, {sha256(blob), blob.size(), sha256(tar)});
  BOOST_TEST_REQUIRE(!layer.has_value());
  BOOST_TEST(layer.error().message.find("compression bomb") != std::string::npos, layer.error().message);
}

BOOST_AUTO_TEST_CASE(long_and_deep_paths_are_refused) {
  std::string deep;
  for (int i = 0; i < 300; ++i) deep += "d/";
  refused(Tar().file(deep + "f"), "deeper than");
  refused(Tar().file(std::string(300, 'n')), "more than 255 bytes");
  std::string far;
  for (int i = 0; i < 50; ++i) far += std::string(100, 'p') + "/";
  refused(Tar().file(far + "f"), "longer than");
}

BOOST_AUTO_TEST_CASE(owners_out_of_range_are_refused) {
  refused(Tar().file("a").owner(int64_t{1} << 33, 0), "out of range");
}

// ---- digests and damage

BOOST_AUTO_TEST_CASE(wrong_digest_size_and_diff_id_are_told_apart) {
  std::string tar = Tar().file("a").bytes(), blob = gzip(tar);
  Digest other = sha256("other");
  auto message = [&](const ExpectedLayer& expected) {
    std::filesystem::remove_all(root);
    auto layer = unpack_blob(blob, expected);
    return layer ? "fine" : layer.error().message;
  };
  BOOST_TEST(message({sha256(blob), blob.size(), sha256(tar)}) == "fine");
  BOOST_TEST(message({other, blob.size(), sha256(tar)}).starts_with("wrong digest"));
  BOOST_TEST(message({sha256(blob), blob.size(), other}).starts_with("wrong diff_id"));
  BOOST_TEST(message({sha256(blob), blob.size() + 1, sha256(tar)}).find("its manifest says") != std::string::npos);
  BOOST_TEST(message({sha256(blob), blob.size() - 1, sha256(tar)}).find("larger than") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_damaged_blob_is_reported_by_its_digest) {
  std::string tar = Tar().file("a", std::string(50'000, 'x')).bytes(), blob = gzip(tar), bad = blob;
  bad[bad.size() / 2] = static_cast<char>(bad[bad.size() / 2] ^ 0x55);
  auto layer = unpack_blob(bad, {sha256(blob), blob.size(), sha256(tar)});
  BOOST_TEST_REQUIRE(!layer.has_value());
  BOOST_TEST(layer.error().message.starts_with("wrong digest"), layer.error().message);
}

BOOST_AUTO_TEST_CASE(cut_off_and_random_archives_are_errors) {
  std::string tar = Tar().file("a", std::string(50'000, 'x')).bytes();
  for (const auto& blob :
       {gzip(tar).substr(0, 40), zstd(tar).substr(0, 20), tar.substr(0, 3000), std::string(5000, 'r')}) {
    auto layer = unpack_blob(blob, {std::nullopt, 0, sha256(tar)});
    BOOST_TEST(!layer.has_value());
    std::filesystem::remove_all(root);
  }
}

// A small fuzzer: whatever one byte becomes, nothing gets out and nothing crashes.
BOOST_AUTO_TEST_CASE(archives_with_one_byte_changed_stay_within) {
  std::string tar =
      Tar().directory("d").file("d/f", "x").symlink("l", "../canary").hardlink("h", "d/f").file("d/.wh.x", "").bytes();
  for (size_t i = 0; i < tar.size(); i += 3) {
    std::string bad = tar;
    bad[i] = static_cast<char>(bad[i] ^ (1 << (i % 8)));
    budget.inodes = 1000;
    budget.bytes = 1 << 20;
    static_cast<void>(unpack_blob(bad, {std::nullopt, 0, sha256(bad)}));
    std::filesystem::remove_all(root);
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
BOOST_AUTO_TEST_SUITE_END()
}  // namespace keelson::images
