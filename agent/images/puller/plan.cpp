#include "agent/images/puller/plan.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <atomic>
#include <cerrno>
#include <mutex>
#include <set>
#include <thread>

#include "agent/images/json.h"

namespace keelson::images {
namespace {

using host::Error;
using host::fail;
using host::Fd;
using host::Result;
using host::Status;
using host::sys_fail;

constexpr size_t kParallelLayers = 3;

Status make_directory(int parent, const std::string& name) {
  if (mkdirat(parent, name.c_str(), 0755) != 0 && errno != EEXIST) return sys_fail("mkdir " + name);
  return {};
}

Status write_file(int directory, const std::string& path, std::string_view content) {
  Fd fd(openat(directory, path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644));
  if (!fd) return sys_fail("create " + path);
  while (!content.empty()) {
    ssize_t done = write(fd.get(), content.data(), content.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return sys_fail("write " + path);
    content.remove_prefix(static_cast<size_t>(done));
  }
  return {};
}

bool exists(int directory, const std::string& name) {
  struct stat info{};
  return fstatat(directory, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
}

Result<UnpackedLayer> unpack_into(const Workspace& workspace, const std::string& hex, const LayerJob& job) {
  for (bool again = false;; again = true) {
    if (auto made = make_directory(workspace.staging, hex); !made) return std::unexpected(std::move(made.error()));
    if (auto made = make_directory(workspace.staging, hex + "/root"); !made) {
      return std::unexpected(std::move(made.error()));
    }
    auto root = open_beneath(workspace.staging, hex + "/root", O_RDONLY | O_DIRECTORY);
    if (!root) return std::unexpected(std::move(root.error()));
    auto blob = job.open();
    if (!blob) return std::unexpected(std::move(blob.error()));
    auto layer = unpack_layer(**blob, job.expected, std::move(*root), *workspace.budget, workspace.limits);
    // What an earlier attempt had left may have been bad (a power cut): once more from the start.
    if (layer || again || !(*blob)->resumed() || layer.error().code != Error::Code::invalid) return layer;
    if (renameat(workspace.staging, hex.c_str(), workspace.staging, ("bad-" + hex).c_str()) != 0) {
      return sys_fail("rename");
    }
  }
}

Status get_layer(const LayerJob& job, const Workspace& workspace, const LayerReady& ready, std::mutex& ready_mutex) {
  const std::string& hex = job.expected.diff_id.hex;
  if (exists(workspace.layers, hex)) return {};
  // Another puller may be at it: wait, then most likely find it done.
  Fd lock(openat(workspace.locks, hex.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!lock) return sys_fail("open the lock of layer " + hex);
  while (flock(lock.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return sys_fail("lock layer " + hex);
  }
  if (exists(workspace.layers, hex)) return {};

  auto layer = unpack_into(workspace, hex, job);
  if (!layer) return std::unexpected(std::move(layer.error()));
  LayerRecord record{layer->bytes, layer->inodes, {layer->opaque.begin(), layer->opaque.end()}};
  std::string text = encode(record);
  if (text.size() > kMaxLayerRecord) return fail(Error::Code::invalid, "the layer has too many opaque directories");
  if (auto written = write_file(workspace.staging, hex + "/layer.json", text); !written) return written;
  std::lock_guard guard(ready_mutex);
  return ready(job.expected.diff_id);
}

}  // namespace

Status check_document(const Descriptor& descriptor, std::string_view content) {
  if (descriptor.size != 0 && content.size() != descriptor.size) {
    return fail(Error::Code::invalid, fmt::format("{} has {} bytes, its descriptor says {}", descriptor.digest.text(),
                                                  content.size(), descriptor.size));
  }
  if (Digest digest = sha256(content); digest != descriptor.digest) {
    return fail(Error::Code::invalid,
                fmt::format("wrong digest: the content is {}, not {}", digest.text(), descriptor.digest.text()));
  }
  return {};
}

Result<ImagePlan> plan_image(ContentSource& source, const Descriptor& top, std::string top_text,
                             const Platform& platform) {
  ImagePlan plan;
  Descriptor at = top;
  std::string text = std::move(top_text);
  for (int depth = 0;; ++depth) {
    if (depth > kMaxIndexDepth) {
      return fail(Error::Code::invalid, fmt::format("indexes are nested deeper than {}", kMaxIndexDepth));
    }
    plan.digests.push_back(at.digest);
    auto parsed = parse_manifest(text);
    if (!parsed) return std::unexpected(std::move(parsed.error()));
    if (auto* index = std::get_if<Index>(&*parsed)) {
      auto chosen = choose(*index, platform);
      if (!chosen) return std::unexpected(std::move(chosen.error()));
      at = std::move(*chosen);
      auto next = source.document(at, true);
      if (!next) return std::unexpected(std::move(next.error()));
      text = std::move(*next);
      continue;
    }
    auto& manifest = std::get<Manifest>(*parsed);
    auto config_text = source.document(manifest.config, false);
    if (!config_text) return std::unexpected(std::move(config_text.error()));
    auto config = parse_config(*config_text);
    if (!config) return std::unexpected(std::move(config.error()));
    if (auto checked = check_config(*config, manifest.layers.size(), platform); !checked) {
      return std::unexpected(std::move(checked.error()));
    }
    for (size_t i = 0; i < manifest.layers.size(); ++i) {
      const Descriptor& layer = manifest.layers[i];
      plan.layers.push_back(
          {{layer.digest, layer.size, config->diff_ids[i]}, [&source, layer] { return source.layer(layer); }});
    }
    plan.manifest = std::move(text);
    plan.config = std::move(*config_text);
    return plan;
  }
}

Status execute(const ImagePlan& plan, const Workspace& workspace, const LayerReady& ready) {
  if (auto made = make_directory(workspace.staging, "blobs"); !made) return made;
  for (const auto* document : {&plan.manifest, &plan.config}) {
    if (document->empty()) continue;
    if (auto written = write_file(workspace.staging, "blobs/" + sha256(*document).hex, *document); !written) {
      return written;
    }
  }
  // One job per diff_id: the empty layer often comes several times.
  std::vector<const LayerJob*> jobs;
  std::set<Digest> seen;
  for (const auto& job : plan.layers) {
    if (seen.insert(job.expected.diff_id).second) jobs.push_back(&job);
  }
  uint64_t needed = 0;
  for (const auto* job : jobs) {
    if (!exists(workspace.layers, job->expected.diff_id.hex)) needed += job->expected.blob_size;
  }
  if (auto room = workspace.budget->bytes.load(); needed > static_cast<uint64_t>(std::max<int64_t>(room, 0))) {
    return fail(Error::Code::unavailable,
                fmt::format("no space: the layers are {} MiB compressed, there is room for {} MiB", needed >> 20,
                            std::max<int64_t>(room, 0) >> 20));
  }
  std::atomic<size_t> next = 0;
  std::mutex mutex;        // guards `failure`
  std::mutex ready_mutex;  // one hand-over at a time
  std::optional<Error> failure;
  auto work = [&] {
    for (size_t i; (i = next.fetch_add(1)) < jobs.size();) {
      auto got = get_layer(*jobs[i], workspace, ready, ready_mutex);
      if (got) continue;
      next = jobs.size();  // the others end with what they have in hand
      std::lock_guard guard(mutex);
      const auto& what = jobs[i]->expected.blob.value_or(jobs[i]->expected.diff_id);
      if (!failure) failure = std::move(got.error()).within("layer " + what.text().substr(0, 19));
    }
  };
  {
    std::vector<std::jthread> threads;
    for (size_t i = 1; i < std::min(kParallelLayers, jobs.size()); ++i) threads.emplace_back(work);
    work();
  }
  if (failure) return std::unexpected(std::move(*failure));
  return {};
}

}  // namespace keelson::images
