// Bundles (OCI layouts and docker archives) and the directory on disk, without the
// puller's process: plan, execute, commit.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>

#include "agent/images/image_directory.h"
#include "agent/images/puller/bundle.h"
#include "crafted.h"

namespace keelson::images {
BOOST_AUTO_TEST_SUITE(import_tests)
namespace {

using namespace test;
using host::Error;
using std::chrono::system_clock;

struct Fixture {
  ScratchDirectory scratch;
  std::filesystem::path layout = scratch.path() / "layout";
  std::filesystem::path store = scratch.path() / "images";
  std::unique_ptr<ImageDirectory> images = ImageDirectory::open(store).value();
  Budget budget{1 << 30, 10'000};

  host::Result<std::vector<std::string>> import(const std::filesystem::path& source, const std::string& name = {}) {
    auto staging = images->stage();
    if (!staging) return std::unexpected(staging.error());
    mkdirat(staging->directory().get(), "input", 0700);
    host::Fd input(::open(source.c_str(), O_RDONLY | O_CLOEXEC));
    host::Fd scratch_fd(openat(staging->directory().get(), "input", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    auto bundle = Bundle::open(std::move(input), std::move(scratch_fd), budget, {});
    if (!bundle) return std::unexpected(bundle.error());
    auto plans = (*bundle)->plan(name, host_platform());
    if (!plans) return std::unexpected(plans.error());
    host::Fd layers(::open((store / "layers").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    host::Fd locks(::open((store / "locks").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    Workspace workspace{staging->directory().get(), layers.get(), locks.get(), &budget, {}};
    std::vector<std::string> names;
    for (const auto& plan : *plans) {
      auto done = execute(plan, workspace, [&](const Digest& diff_id) {
        ++unpacked;
        return staging->commit_layer(diff_id);
      });
      if (!done) return std::unexpected(done.error());
      StagedImage image{plan.names, {}, sha256(plan.config).text()};
      for (const auto& digest : plan.digests) image.digests.push_back(digest.text());
      if (auto committed = staging->commit_image(image); !committed) return std::unexpected(committed.error());
      names.insert(names.end(), plan.names.begin(), plan.names.end());
    }
    return names;
  }
  std::string import_message(const std::filesystem::path& source, const std::string& name = {}) {
    auto imported = import(source, name);
    return imported ? "fine" : imported.error().message;
  }
  void import_fine(const CraftedImage& image) {
    std::filesystem::remove_all(layout);
    write_layout(layout, image);
    BOOST_TEST_REQUIRE(import_message(layout) == "fine");
  }
  size_t layer_count() {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(store / "layers"), {}));
  }
  bool staging_is_empty() { return std::filesystem::is_empty(store / "staging"); }
  void age(const std::string& name, std::chrono::hours by) {
    auto file = store / "refs" / (sha256(name).hex + ".json");
    std::filesystem::last_write_time(file, std::filesystem::last_write_time(file) - by);
  }
  int unpacked = 0;
};

BOOST_FIXTURE_TEST_SUITE(importing, Fixture)

BOOST_AUTO_TEST_CASE(an_oci_layout_is_found_by_name_digest_and_id) {
  Digest manifest = write_layout(layout, {});
  BOOST_TEST_REQUIRE(import_message(layout) == "fine");
  auto image = images->find("crafted:1");
  BOOST_TEST_REQUIRE(image.has_value());
  BOOST_TEST(image->entrypoint == std::vector<std::string>{"/run"}, boost::test_tools::per_element());
  BOOST_TEST(image->user == "7");
  BOOST_TEST(image->tags == std::vector<std::string>{"docker.io/library/crafted:1"}, boost::test_tools::per_element());
  BOOST_TEST_REQUIRE(image->layers.size() == 1u);
  BOOST_TEST(read_file(std::filesystem::path(image->layers[0]) / "a") == "1");
  BOOST_TEST(images->find("crafted@" + manifest.text()).has_value());
  BOOST_TEST(images->find(image->id).has_value());
  BOOST_TEST((images->find("crafted:2").error().code == Error::Code::not_found));
  BOOST_TEST((images->find("NO").error().code == Error::Code::invalid));
  BOOST_TEST(staging_is_empty());
}

BOOST_AUTO_TEST_CASE(archives_plain_and_compressed_are_layouts_too) {
  write_layout(layout, {});
  std::string tar = tar_of(layout);
  for (const auto& [file, content] : {std::pair{"a.tar", tar}, {"a.tgz", gzip(tar)}, {"a.tar.zst", zstd(tar)}}) {
    write_file(scratch.path() / file, content);
    BOOST_TEST(import_message(scratch.path() / file, fmt::format("docker.io/library/{}:1", file)) == "fine");
  }
  BOOST_TEST(images->list()->size() == 1u);
  BOOST_TEST(images->list()->front().tags.size() == 3u);
  BOOST_TEST(unpacked == 1);
}

BOOST_AUTO_TEST_CASE(docker_archives_are_read_with_their_links) {
  std::string layer = Tar().file("from-docker", "1").bytes();
  std::string config = fmt::format(R"({{"os":"linux","architecture":"{}","rootfs":{{"diff_ids":["{}","{}"]}}}})",
                                   host_platform().architecture, sha256(layer).text(), sha256(layer).text());
  Tar tar;
  tar.file("abc.json", config).file("one/layer.tar", layer).symlink("two/layer.tar", "../one/layer.tar");
  tar.file("manifest.json", R"([{"Config":"abc.json","RepoTags":["team/app:1","team/app:2"],)"
                            R"("Layers":["one/layer.tar","two/layer.tar"]}])");
  write_file(scratch.path() / "docker.tar", tar.bytes());
  BOOST_TEST_REQUIRE(import_message(scratch.path() / "docker.tar") == "fine");
  auto image = images->find("team/app:2");
  BOOST_TEST_REQUIRE(image.has_value());
  BOOST_TEST(image->id == sha256(config).text());
  BOOST_TEST(image->tags.size() == 2u);
  BOOST_TEST(image->layers.size() == 1u);  // overlayfs wants no directory twice
  BOOST_TEST(unpacked == 1);
}

BOOST_AUTO_TEST_CASE(names_in_archives_never_become_paths) {
  Tar tar;
  tar.file("../../../../canary", "evil")
      .file("manifest.json", R"([{"Config":"../../../etc/passwd","RepoTags":["a"],"Layers":[]}])");
  write_file(scratch.path() / "evil.tar", tar.bytes());
  BOOST_TEST(import_message(scratch.path() / "evil.tar").find("is not in the archive") != std::string::npos);
  BOOST_TEST(!std::filesystem::exists(scratch.path() / "canary"));
}

BOOST_AUTO_TEST_CASE(a_layout_whose_blob_is_a_symbolic_link_is_not_followed) {
  Digest manifest = write_layout(layout, {});
  auto blob = layout / "blobs/sha256" / manifest.hex;
  std::filesystem::rename(blob, scratch.path() / "elsewhere");
  std::filesystem::create_symlink(scratch.path() / "elsewhere", blob);
  BOOST_TEST(import_message(layout) != "fine");
}

BOOST_AUTO_TEST_CASE(nameless_images_need_a_name) {
  CraftedImage image;
  image.name = "";
  write_layout(layout, image);
  BOOST_TEST(import_message(layout).find("--name") != std::string::npos);
  image.name = "v1";  // only a tag
  write_layout(layout, image);
  BOOST_TEST(import_message(layout).find("--name") != std::string::npos);
  BOOST_TEST(import_message(layout, "docker.io/library/given:1") == "fine");
  BOOST_TEST(images->find("given:1").has_value());
}

BOOST_AUTO_TEST_CASE(wrong_diff_ids_and_documents_are_refused_and_leave_nothing) {
  CraftedImage image;
  image.diff_ids = {sha256("other")};
  write_layout(layout, image);
  BOOST_TEST(import_message(layout).find("wrong diff_id") != std::string::npos);
  BOOST_TEST(layer_count() == 0u);
  BOOST_TEST(staging_is_empty());
  std::filesystem::remove_all(layout);
  Digest manifest = write_layout(layout, {});
  auto blob = layout / "blobs/sha256" / manifest.hex;
  write_file(blob, read_file(blob) + " ");
  BOOST_TEST(import_message(layout) != "fine");
  BOOST_TEST(images->list()->empty());
}

BOOST_AUTO_TEST_CASE(an_image_without_room_for_it_is_refused_before_it_is_unpacked) {
  write_layout(layout, {.layers = {Tar().file("big", std::string(300'000, 'x')).bytes()}, .compress = false});
  budget.bytes = 100'000;
  BOOST_TEST(import_message(layout).find("no space") != std::string::npos);
  BOOST_TEST(unpacked == 0);
}

BOOST_AUTO_TEST_CASE(indexes_may_nest_but_not_without_end) {
  CraftedImage image;
  image.index_depth = 2;
  import_fine(image);
  std::filesystem::remove_all(layout);
  image.index_depth = 6;
  write_layout(layout, image);
  BOOST_TEST(import_message(layout).find("nested deeper") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(images_of_another_architecture_are_refused) {
  CraftedImage image;
  image.architecture = "vax";
  write_layout(layout, image);
  BOOST_TEST(import_message(layout).find("linux/vax") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(shared_layers_are_unpacked_once_and_stay_while_one_image_needs_them) {
  std::string base = Tar().file("base").bytes(), one = Tar().file("one").bytes(), two = Tar().file("two").bytes();
  import_fine({.layers = {base, one}, .name = "docker.io/library/one:1"});
  import_fine({.layers = {base, two}, .name = "docker.io/library/two:1"});
  BOOST_TEST(unpacked == 3);
  BOOST_TEST(layer_count() == 3u);
  auto removed = images->remove("one:1", {});
  BOOST_TEST_REQUIRE(removed.has_value());
  BOOST_TEST(removed->layers == 1u);
  BOOST_TEST(layer_count() == 2u);
  BOOST_TEST(images->find("two:1").has_value());
  BOOST_TEST((images->remove("one:1", {}).error().code == Error::Code::not_found));
  BOOST_TEST(staging_is_empty());
}

BOOST_AUTO_TEST_CASE(an_opaque_root_leaves_out_the_layers_below_it) {
  std::string below = Tar().file("below").bytes(), above = Tar().file(".wh..wh..opq", "").file("above").bytes();
  import_fine({.layers = {below, above}});
  auto image = images->find("crafted:1");
  BOOST_TEST_REQUIRE(image->layers.size() == 1u);
  BOOST_TEST(std::filesystem::exists(std::filesystem::path(image->layers[0]) / "above"));
}

BOOST_AUTO_TEST_CASE(opaque_directories_are_marked_for_overlayfs) {
  if (geteuid() != 0) return;  // trusted.* needs CAP_SYS_ADMIN; the integration test covers it
  import_fine({.layers = {Tar().file("d/.wh..wh..opq", "").bytes()}});
  auto image = images->find("crafted:1");
  char value[2] = {};
  std::string directory = image->layers[0] + "/d";
  BOOST_TEST(getxattr(directory.c_str(), "trusted.overlay.opaque", value, sizeof value) == 1);
  BOOST_TEST(value[0] == 'y');
}

BOOST_AUTO_TEST_CASE(images_in_use_are_not_removed) {
  import_fine({});
  auto image = images->find("crafted:1");
  for (const auto& use : {image->id, std::string("docker.io/library/crafted:1"), image->digests.front()}) {
    auto removed = images->remove("crafted:1", {use});
    BOOST_TEST((removed.error().code == Error::Code::denied), use);
    auto pruned = images->prune({use}, system_clock::now(), [](const Removed&) { return false; });
    BOOST_TEST(pruned->references.empty());
  }
  BOOST_TEST(images->prune({image->layers[0]}, system_clock::now(), [](const Removed&) { return false; }).has_value());
  BOOST_TEST(images->find("crafted:1").has_value());
}

BOOST_AUTO_TEST_CASE(a_layer_that_a_process_holds_locked_is_not_removed) {
  import_fine({});
  auto layer = images->find("crafted:1")->layers[0];
  host::Fd holder(::open(layer.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  BOOST_TEST_REQUIRE(flock(holder.get(), LOCK_SH) == 0);
  BOOST_TEST((images->remove("crafted:1", {}).error().code == Error::Code::denied));
  BOOST_TEST(images->prune({}, system_clock::now(), [](const Removed&) { return false; })->layers == 0u);
  BOOST_TEST(std::filesystem::exists(layer));
  BOOST_TEST(images->find("crafted:1").has_value());
  holder.reset();
  BOOST_TEST(images->prune({}, system_clock::now(), [](const Removed&) { return false; })->layers == 1u);
}

BOOST_AUTO_TEST_CASE(pruning_takes_the_longest_unused_first_and_stops_when_it_is_enough) {
  for (int i = 0; i < 3; ++i) {
    std::string name = fmt::format("docker.io/library/old{}:1", i);
    import_fine({.layers = {Tar().file("f", std::to_string(i)).bytes()}, .name = name});
    age(name, std::chrono::hours(10 - i));
  }
  images->touch("docker.io/library/old0:1");
  auto removed = images->prune({}, system_clock::now() + std::chrono::hours(1),
                               [](const Removed& so_far) { return so_far.layers >= 2; });
  BOOST_TEST_REQUIRE(removed.has_value());
  BOOST_TEST(removed->references == (std::vector<std::string>{"docker.io/library/old1:1", "docker.io/library/old2:1"}),
             boost::test_tools::per_element());
  BOOST_TEST(images->find("old0:1").has_value());
  auto young = images->prune({}, system_clock::now() - std::chrono::hours(1), [](const Removed&) { return false; });
  BOOST_TEST(young->references.empty());
}

BOOST_AUTO_TEST_CASE(a_layer_pruned_while_its_image_comes_makes_the_commit_say_again) {
  write_layout(layout, {});
  import_fine({});
  auto staging = images->stage();
  std::string config_digest = images->find("crafted:1")->id;
  auto blob = store / "blobs/sha256" / config_digest.substr(7);
  write_file(staging->path() / "blobs" / config_digest.substr(7), read_file(blob));
  BOOST_TEST_REQUIRE(images->remove("crafted:1", {}).has_value());
  auto committed = staging->commit_image({{"docker.io/library/crafted:1"}, {}, config_digest});
  BOOST_TEST_REQUIRE(!committed.has_value());
  BOOST_TEST((committed.error().code == Error::Code::unavailable));
}

BOOST_AUTO_TEST_CASE(layers_of_an_image_that_is_still_coming_are_not_pruned) {
  auto staging = images->stage();
  Digest diff_id = sha256("layer");
  write_file(staging->path() / diff_id.hex / "layer.json", R"({"bytes":1,"inodes":1,"opaque":[]})");
  std::filesystem::create_directories(staging->path() / diff_id.hex / "root");
  BOOST_TEST_REQUIRE(staging->commit_layer(diff_id).has_value());
  BOOST_TEST(images->prune({}, system_clock::now(), [](const Removed&) { return false; }).has_value());
  BOOST_TEST(layer_count() == 1u);
  {
    auto gone = std::move(*staging);
  }
  BOOST_TEST(images->prune({}, system_clock::now(), [](const Removed&) { return false; }).has_value());
  BOOST_TEST(layer_count() == 0u);
}

BOOST_AUTO_TEST_CASE(what_a_crash_left_is_swept_and_what_lives_is_not) {
  auto alive = images->stage();
  std::filesystem::create_directories(store / "staging/crashed/deep/down");
  images = ImageDirectory::open(store).value();
  BOOST_TEST(!std::filesystem::exists(store / "staging/crashed"));
  BOOST_TEST(std::filesystem::exists(alive->path()));
}

BOOST_AUTO_TEST_CASE(the_puller_cannot_smuggle_a_document_or_a_link_past_the_commit) {
  auto staging = images->stage();
  Digest claimed = sha256("claimed");
  write_file(staging->path() / "blobs" / claimed.hex, "something else");
  BOOST_TEST(!staging->commit_image({{"docker.io/library/x:1"}, {}, claimed.text()}).has_value());
  Digest diff_id = sha256("linked");
  std::filesystem::create_symlink(scratch.path(), staging->path() / diff_id.hex);
  BOOST_TEST(!staging->commit_layer(diff_id).has_value());
}

BOOST_AUTO_TEST_CASE(unreadable_references_are_passed_over) {
  import_fine({});
  write_file(store / "refs" / "junk.json", "{not json");
  write_file(store / "refs" / (sha256("x").hex + ".json"), R"({"name":"docker.io/library/x:1","config":"sha256:zz"})");
  BOOST_TEST(images->list()->size() == 1u);
}

BOOST_AUTO_TEST_CASE(the_directory_is_closed_to_others) {
  struct stat info{};
  BOOST_TEST(stat(store.c_str(), &info) == 0);
  BOOST_TEST((info.st_mode & 0777) == 0700u);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
BOOST_AUTO_TEST_SUITE_END()
}  // namespace keelson::images
