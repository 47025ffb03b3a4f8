#include "agent/images/puller/bundle.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "agent/images/json.h"
#include "agent/images/puller/archive.h"
#include "agent/images/reference.h"

namespace keelson::images {
namespace {

using host::Error;
using host::fail;
using host::Fd;
using host::Result;
using host::Status;
using host::sys_fail;

constexpr size_t kMaxFiles = 20000;
constexpr size_t kMaxImages = 1000;

std::string clean(std::string_view name) {
  return std::filesystem::path(name).lexically_normal().relative_path().string();
}

// What an annotation of an OCI layout calls the image; empty when it is only a tag.
Result<std::string> annotated_name(const Descriptor& descriptor) {
  for (const char* key : {"io.containerd.image.name", "org.opencontainers.image.ref.name"}) {
    auto found = descriptor.annotations.find(key);
    if (found == descriptor.annotations.end()) continue;
    if (found->second.find_first_of("/:@") == std::string::npos) continue;
    auto reference = parse_reference(found->second);
    if (!reference) return std::unexpected(std::move(reference.error()).within(key));
    return reference->text();
  }
  return std::string();
}

std::unexpected<Error> nameless() {
  return fail(Error::Code::invalid, "the image has no name in the archive: give it one with --name");
}

}  // namespace

Result<std::unique_ptr<Bundle>> Bundle::open(Fd input, Fd scratch, Budget& budget, const UnpackLimits& limits) {
  struct stat info{};
  if (fstat(input.get(), &info) != 0) return sys_fail("stat");
  std::unique_ptr<Bundle> bundle(new Bundle);
  if (S_ISDIR(info.st_mode)) {
    bundle->directory_ = std::move(input);
    return bundle;
  }
  bundle->archive_ = true;
  bundle->directory_ = std::move(scratch);
  if (auto taken = bundle->take_apart(std::move(input), budget, limits); !taken) {
    return std::unexpected(std::move(taken.error()));
  }
  return bundle;
}

Status Bundle::take_apart(Fd archive, Budget& budget, const UnpackLimits& limits) {
  FileSource raw(std::move(archive));
  Decompressor plain(raw, limits.ratio, limits.ratio_free);
  auto reader = TarReader::open(plain);
  if (!reader) return std::unexpected(std::move(reader.error()));
  std::map<std::string, std::string> links;
  Entry entry;
  size_t count = 0;
  while (true) {
    auto more = reader->next(entry);
    if (!more) return std::unexpected(std::move(more.error()));
    if (!*more) break;
    if (++count > kMaxFiles)
      return fail(Error::Code::invalid, fmt::format("the archive has more than {} files", kMaxFiles));
    std::string name = clean(entry.path);
    if (entry.type == Entry::Type::symlink) {  // docker save: one layer under two names
      links[name] = clean((std::filesystem::path(name).parent_path() / entry.target).string());
    } else if (entry.type == Entry::Type::hardlink) {
      links[name] = clean(entry.target);
    }
    if (entry.type != Entry::Type::file) continue;
    auto size = static_cast<int64_t>(std::min<uint64_t>(entry.size, INT64_MAX / 4));
    if (budget.bytes.fetch_sub(size) < size) {
      return fail(Error::Code::invalid, "the archive is larger than is allowed or the file system has room for");
    }
    std::string number = std::to_string(files_.size());
    Fd out(openat(directory_.get(), number.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!out) return sys_fail("create a temporary file");
    auto written = reader->content([&](std::span<const char> data, uint64_t offset) -> Status {
      while (!data.empty()) {
        ssize_t done = pwrite(out.get(), data.data(), data.size(), static_cast<off_t>(offset));
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return sys_fail("write");
        data = data.subspan(static_cast<size_t>(done));
        offset += static_cast<uint64_t>(done);
      }
      return {};
    });
    if (!written) return written;
    files_.emplace(std::move(name), std::move(number));
  }
  for (const auto& [name, target] : links) {
    if (auto found = files_.find(target); found != files_.end()) files_.emplace(name, found->second);
  }
  return {};
}

Result<Fd> Bundle::file(const std::string& name) const {
  if (!archive_) return open_beneath(directory_.get(), name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  auto found = files_.find(clean(name));
  if (found == files_.end()) return fail(Error::Code::not_found, fmt::format("{} is not in the archive", name));
  return open_beneath(directory_.get(), found->second, O_RDONLY | O_NOFOLLOW);
}

Result<std::string> Bundle::text(const std::string& name) const {
  auto fd = file(name);
  if (!fd) return std::unexpected(std::move(fd.error()));
  FileSource source(std::move(*fd));
  std::string content;
  std::vector<char> buffer(64 << 10);
  while (true) {
    auto got = source.read(buffer);
    if (!got) return std::unexpected(std::move(got.error()).within(name));
    if (*got == 0) return content;
    content.append(buffer.data(), *got);
    if (content.size() > kMaxManifestBytes) {
      return fail(Error::Code::invalid, fmt::format("{} has more than {} bytes", name, kMaxManifestBytes));
    }
  }
}

Result<std::string> Bundle::document(const Descriptor& descriptor, bool) {
  auto content = text("blobs/sha256/" + descriptor.digest.hex);
  if (!content) return content;
  if (auto checked = check_document(descriptor, *content); !checked) return std::unexpected(std::move(checked.error()));
  return content;
}

Result<std::unique_ptr<ByteSource>> Bundle::layer(const Descriptor& descriptor) {
  auto fd = file("blobs/sha256/" + descriptor.digest.hex);
  if (!fd) return std::unexpected(std::move(fd.error()));
  return std::make_unique<FileSource>(std::move(*fd));
}

Result<std::vector<ImagePlan>> Bundle::plan(const std::string& given_name, const Platform& platform) {
  if (file("index.json")) return plan_oci(given_name, platform);
  if (file("manifest.json")) return plan_docker(given_name, platform);
  return fail(Error::Code::invalid,
              "neither index.json nor manifest.json is there: it is no OCI layout and no docker archive");
}

Result<std::vector<ImagePlan>> Bundle::plan_oci(const std::string& given_name, const Platform& platform) {
  auto index_text = text("index.json");
  if (!index_text) return std::unexpected(std::move(index_text.error()));
  auto parsed = parse_manifest(*index_text);
  if (!parsed) return std::unexpected(std::move(parsed.error()).within("index.json"));
  auto* index = std::get_if<Index>(&*parsed);
  if (!index || index->manifests.empty()) return fail(Error::Code::invalid, "index.json lists no image");

  std::vector<Descriptor> tops;
  if (given_name.empty()) {
    tops = index->manifests;
  } else {
    auto chosen =
        index->manifests.size() == 1 ? Result<Descriptor>(index->manifests.front()) : choose(*index, platform);
    if (!chosen) {
      return std::unexpected(std::move(chosen.error()).within("--name fits one image, and the archive has several"));
    }
    tops.push_back(std::move(*chosen));
  }
  // One image may stand there under several names.
  std::vector<ImagePlan> plans;
  std::map<Digest, size_t> by_digest;
  for (const auto& top : tops) {
    std::string name = given_name;
    if (name.empty()) {
      auto annotated = annotated_name(top);
      if (!annotated) return std::unexpected(std::move(annotated.error()));
      name = std::move(*annotated);
    }
    if (name.empty()) {
      if (tops.size() > 1 && top.platform != Platform{} && top.platform.os == "unknown") continue;  // an attestation
      return nameless();
    }
    auto [at, added] = by_digest.try_emplace(top.digest, plans.size());
    if (added) {
      auto top_text = document(top, true);
      if (!top_text) return std::unexpected(std::move(top_text.error()).within(name));
      auto planned = plan_image(*this, top, std::move(*top_text), platform);
      if (!planned) return std::unexpected(std::move(planned.error()).within(name));
      plans.push_back(std::move(*planned));
    }
    plans[at->second].names.push_back(std::move(name));
  }
  return plans;
}

Result<std::vector<ImagePlan>> Bundle::plan_docker(const std::string& given_name, const Platform& platform) {
  auto list_text = text("manifest.json");
  if (!list_text) return std::unexpected(std::move(list_text.error()));
  auto list = parse_json_object("{\"images\":" + *list_text + "}", "manifest.json", kMaxManifestBytes + 16);
  if (!list) return std::unexpected(std::move(list.error()));
  const auto* images = array_member(*list, "images");
  if (!images || images->Empty()) return fail(Error::Code::invalid, "manifest.json lists no image");
  if (images->Size() > kMaxImages) return fail(Error::Code::invalid, fmt::format("more than {} images", kMaxImages));
  if (!given_name.empty() && images->Size() > 1) {
    return fail(Error::Code::invalid, "--name fits one image, and the archive has several");
  }
  std::vector<ImagePlan> plans;
  for (const auto& image : images->GetArray()) {
    if (!image.IsObject()) return fail(Error::Code::invalid, "manifest.json is no list of objects");
    ImagePlan plan;
    std::vector<std::string> tags = given_name.empty() ? strings_member(image, "RepoTags") : std::vector{given_name};
    for (const auto& tag : tags) {
      auto reference = parse_reference(tag);
      if (!reference) return std::unexpected(std::move(reference.error()).within("RepoTags"));
      plan.names.push_back(reference->text());
    }
    if (plan.names.empty()) return nameless();
    auto config_text = text(string_member(image, "Config"));
    if (!config_text) return std::unexpected(std::move(config_text.error()).within(plan.names.front()));
    auto config = parse_config(*config_text);
    if (!config) return std::unexpected(std::move(config.error()).within(plan.names.front()));
    auto layers = strings_member(image, "Layers");
    if (auto checked = check_config(*config, layers.size(), platform); !checked) {
      return std::unexpected(std::move(checked.error()).within(plan.names.front()));
    }
    plan.config = std::move(*config_text);
    for (size_t i = 0; i < layers.size(); ++i) {
      plan.layers.push_back(
          {{std::nullopt, 0, config->diff_ids[i]}, [this, name = layers[i]]() -> Result<std::unique_ptr<ByteSource>> {
             auto fd = file(name);
             if (!fd) return std::unexpected(std::move(fd.error()));
             return std::make_unique<FileSource>(std::move(*fd));
           }});
    }
    plans.push_back(std::move(plan));
  }
  return plans;
}

}  // namespace keelson::images
