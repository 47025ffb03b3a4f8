#include "agent/images/image_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "agent/images/json.h"
#include "agent/images/layer_record.h"
#include "agent/images/manifest.h"
#include "agent/images/reference.h"
#include "host/log.h"

namespace keelson::images {
namespace {

using host::Error;
using host::fail;
using host::Fd;
using host::Result;
using host::Status;
using host::sys_fail;
using std::chrono::system_clock;

constexpr uint64_t kMaxReserve = 2ull << 30;
constexpr uint64_t kMaxReserveInodes = 100'000;
constexpr std::string_view kHeld = "held-";  // + hex: an empty directory in staging
constexpr size_t kMaxReferenceFile = 64 << 10;
// A partial download that nobody has resumed for this long is given up.
constexpr auto kPartialAge = std::chrono::hours(24);

std::string reference_file(std::string_view name) { return sha256(name).hex + ".json"; }

std::string encode(const StoredReference& reference) {
  rapidjson::StringBuffer buffer;
  JsonWriter writer(buffer);
  writer.StartObject();
  write_member(writer, "name", reference.name);
  write_member(writer, "config", reference.config);
  write_member(writer, "digests", reference.digests);
  writer.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

Status sync_directory(const Fd& directory) {
  return fsync(directory.get()) == 0 ? Status{} : Status{sys_fail("fsync")};
}

system_clock::time_point time_of(const timespec& time) {
  return system_clock::time_point(std::chrono::duration_cast<system_clock::duration>(
      std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec)));
}

// A file that the puller wrote: through no link of its making.
Result<std::string> read_beneath(const Fd& directory, const std::string& path, size_t limit) {
  auto fd = open_beneath(directory.get(), path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!fd) return std::unexpected(std::move(fd.error()));
  struct stat info{};
  if (fstat(fd->get(), &info) != 0) return sys_fail(path);
  if (!S_ISREG(info.st_mode) || static_cast<uint64_t>(info.st_size) > limit) {
    return fail(Error::Code::invalid, fmt::format("{} is no file of at most {} bytes", path, limit));
  }
  std::string text(static_cast<size_t>(info.st_size), 0);
  for (size_t at = 0; at < text.size();) {
    ssize_t got = read(fd->get(), text.data() + at, text.size() - at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return sys_fail(path);
    if (got == 0) return fail(Error::Code::invalid, path + " became shorter");
    at += static_cast<size_t>(got);
  }
  return text;
}

// By a shim, for one of its containers. Closing the descriptor takes our own lock away.
bool is_held(const std::string& layer_root) {
  const Fd root(open(layer_root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return root && flock(root.get(), LOCK_EX | LOCK_NB) != 0;
}

// Users write names as they like ("nginx"); ours are spelled out.
InUse spelled_out(const InUse& used) {
  InUse all;
  for (const auto& one : used) {
    const bool is_name = !one.starts_with('/') && !parse_digest(one);
    const auto reference = parse_reference(one);
    all.insert(is_name && reference ? reference->text() : one);
  }
  return all;
}

bool in_use(const StoredReference& reference, const InUse& used) {
  const auto& layers = reference.image.layers;
  if (!layers.empty() && std::ranges::all_of(layers, is_held)) return true;
  return used.contains(reference.config) || used.contains(reference.name) ||
         std::ranges::any_of(reference.image.digests, [&](const auto& digest) { return used.contains(digest); });
}

}  // namespace

Staging::~Staging() {
  if (!directory_) return;  // moved from
  if (auto removed = host::remove_tree(path_); !removed) {
    host::log_warning("images: remove {}: {}, ignoring", path_.string(), removed.error().message);
  }
}

Status Staging::commit_layer(const Digest& diff_id) {
  auto within = [&](Error error) { return std::unexpected(std::move(error).within("store layer " + diff_id.hex)); };
  auto layer = open_beneath(directory_.get(), diff_id.hex, O_RDONLY | O_DIRECTORY);
  if (!layer) return within(std::move(layer.error()));
  auto root = open_beneath(layer->get(), "root", O_RDONLY | O_DIRECTORY);
  if (!root) return within(std::move(root.error()));
  auto text = read_beneath(directory_, diff_id.hex + "/layer.json", kMaxLayerRecord);
  if (!text) return within(std::move(text.error()));
  auto record = decode_layer_record(*text);
  if (!record) return within(std::move(record.error()));
  std::erase(record->opaque, ".");  // find() leaves out what is below such a layer
  if (auto marked = mark_opaque(*root, record->opaque); !marked) return within(std::move(marked.error()));
  if (syncfs(root->get()) != 0) return sys_fail("syncfs");

  auto lock = owner_->lock();
  if (!lock) return std::unexpected(std::move(lock.error()));
  // Until its image has come, this is what keeps others from removing it.
  if (mkdirat(directory_.get(), (std::string(kHeld) + diff_id.hex).c_str(), 0700) != 0 && errno != EEXIST)
    return sys_fail("mkdir");
  Fd layers(openat(owner_->directory_.get(), "layers", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!layers) return sys_fail("open layers");
  if (renameat2(directory_.get(), diff_id.hex.c_str(), layers.get(), diff_id.hex.c_str(), RENAME_NOREPLACE) != 0) {
    if (errno == EEXIST) return {};
    return sys_fail("rename layer " + diff_id.hex);
  }
  return sync_directory(layers);
}

Status Staging::commit_image(const StagedImage& image) {
  auto config = parse_digest(image.config);
  if (!config) return std::unexpected(std::move(config.error()));
  std::vector<Digest> documents = {*config};
  for (const auto& digest : image.digests) {
    auto parsed = parse_digest(digest);
    if (!parsed) return std::unexpected(std::move(parsed.error()));
    documents.push_back(*parsed);
  }
  std::vector<Digest> diff_ids;
  std::vector<std::pair<std::string, std::string>> contents;  // hex, text
  for (const auto& digest : documents) {
    auto text = read_beneath(directory_, "blobs/" + digest.hex, kMaxManifestBytes);
    if (!text && text.error().code == Error::Code::not_found && digest != *config) continue;  // an index
    if (!text) return std::unexpected(std::move(text.error()));
    if (sha256(*text) != digest) return fail(Error::Code::invalid, "wrong digest: " + digest.text());
    if (digest == *config) {
      auto parsed = parse_config(*text);
      if (!parsed) return std::unexpected(std::move(parsed.error()));
      diff_ids = parsed->diff_ids;
    }
    contents.emplace_back(digest.hex, std::move(*text));
  }

  auto lock = owner_->lock();
  if (!lock) return std::unexpected(std::move(lock.error()));
  for (const auto& diff_id : diff_ids) {
    struct stat info{};
    if (fstatat(owner_->directory_.get(), ("layers/" + diff_id.hex).c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      return fail(Error::Code::unavailable,
                  fmt::format("layer {} was removed while the image came: try again", diff_id.text()));
    }
  }
  for (const auto& [hex, text] : contents) {
    auto written = host::write_file_atomically(owner_->path_ / "blobs/sha256" / hex, text);
    if (!written) return written;
  }
  for (const auto& name : image.names) {
    StoredReference reference;
    reference.name = name;
    reference.config = config->text();
    reference.digests = image.digests;
    auto written = host::write_file_atomically(owner_->path_ / "refs" / reference_file(name), encode(reference));
    if (!written) return written;
  }
  return {};
}

Result<std::unique_ptr<ImageDirectory>> ImageDirectory::open(const host::Path& path) {
  if (auto made = host::make_directories(path, 0700); !made) return std::unexpected(std::move(made.error()));
  for (const char* child : {"layers", "blobs/sha256", "refs", "staging", "partial", "locks"}) {
    if (auto made = host::make_directories(path / child, 0700); !made) return std::unexpected(std::move(made.error()));
  }
  auto directory = host::open_file(path, O_RDONLY | O_DIRECTORY);
  if (!directory) return std::unexpected(std::move(directory.error()));
  if (fchmod(directory->get(), 0700) != 0) return sys_fail("chmod " + path.string());
  std::unique_ptr<ImageDirectory> images(new ImageDirectory(path, std::move(*directory)));
  if (auto swept = images->sweep(); !swept) return std::unexpected(std::move(swept.error()).within("images: sweep"));
  return images;
}

Result<Fd> ImageDirectory::lock() const {
  Fd fd(openat(directory_.get(), "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return sys_fail("open " + (path_ / "lock").string());
  while (flock(fd.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return sys_fail("lock " + path_.string());
  }
  return fd;
}

Status ImageDirectory::sweep() const {
  std::vector<host::Path> dead;
  {
    auto held = lock();
    if (!held) return std::unexpected(std::move(held.error()));
    auto names = host::list_directory(path_ / "staging");
    if (!names) return std::unexpected(std::move(names.error()));
    for (const auto& name : *names) {
      Fd fd(openat(directory_.get(), ("staging/" + name).c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (fd && flock(fd.get(), LOCK_EX | LOCK_NB) == 0) dead.push_back(path_ / "staging" / name);
    }
    auto partials = host::list_directory(path_ / "partial");
    if (!partials) return std::unexpected(std::move(partials.error()));
    auto oldest = system_clock::now() - kPartialAge;
    for (const auto& name : *partials) {
      std::string file = "partial/" + name;
      struct stat info{};
      if (fstatat(directory_.get(), file.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
      if (time_of(info.st_mtim) < oldest) unlinkat(directory_.get(), file.c_str(), 0);
    }
  }
  for (const auto& path : dead) {
    if (auto removed = host::remove_tree(path); !removed) {
      host::log_warning("images: remove {}: {}, ignoring", path.string(), removed.error().message);
    }
  }
  return {};
}

Result<Staging> ImageDirectory::stage() const {
  auto held = lock();  // so that no sweep sees it before it is locked
  if (!held) return std::unexpected(std::move(held.error()));
  std::string path = (path_ / "staging/XXXXXX").string();
  if (!mkdtemp(path.data())) return sys_fail("make " + path);
  auto directory = host::open_file(path, O_RDONLY | O_DIRECTORY);
  if (!directory) return std::unexpected(std::move(directory.error()));
  if (flock(directory->get(), LOCK_EX | LOCK_NB) != 0) return sys_fail("lock " + path);
  return Staging(this, path, std::move(*directory));
}

Result<std::pair<uint64_t, uint64_t>> ImageDirectory::room() const {
  struct statvfs info{};
  if (fstatvfs(directory_.get(), &info) != 0) return sys_fail("statvfs " + path_.string());
  auto less = [](uint64_t free, uint64_t reserve) { return free > reserve ? free - reserve : 0; };
  uint64_t reserve = std::min<uint64_t>(uint64_t{info.f_blocks} * info.f_frsize / 20, kMaxReserve);
  uint64_t bytes = less(uint64_t{info.f_bavail} * info.f_frsize, reserve);
  // btrfs and others count no inodes.
  uint64_t inodes =
      info.f_files == 0 ? INT64_MAX / 4 : less(info.f_favail, std::min<uint64_t>(info.f_files / 20, kMaxReserveInodes));
  return std::pair{bytes, inodes};
}

Status ImageDirectory::load_image(StoredReference& reference) const {
  auto config_digest = parse_digest(reference.config);
  if (!config_digest) return std::unexpected(std::move(config_digest.error()));
  auto text = host::read_file(path_ / "blobs/sha256" / config_digest->hex, kMaxManifestBytes);
  if (!text) return std::unexpected(std::move(text.error()));
  auto config = parse_config(*text);
  if (!config) return std::unexpected(std::move(config.error()));
  auto name = parse_reference(reference.name);
  if (!name) return std::unexpected(std::move(name.error()));

  api::ImageInfo& image = reference.image;
  image.id = reference.config;
  if (!name->digest) image.tags.push_back(reference.name);
  for (const auto& digest : reference.digests) image.digests.push_back(name->name() + "@" + digest);
  for (const auto& diff_id : config->diff_ids) {
    host::Path layer = path_ / "layers" / diff_id.hex;
    auto record_text = host::read_file(layer / "layer.json", kMaxLayerRecord);
    if (!record_text) return std::unexpected(std::move(record_text.error()));
    auto record = decode_layer_record(*record_text);
    if (!record) return std::unexpected(std::move(record.error()));
    image.size += record->bytes;
    // An opaque root, which overlayfs has no mark for.
    if (std::ranges::find(record->opaque, ".") != record->opaque.end()) image.layers.clear();
    std::string root = (layer / "root").string();
    std::erase(image.layers, root);  // overlayfs refuses a directory twice; the upper one counts
    image.layers.push_back(std::move(root));
  }
  image.entrypoint = std::move(config->entrypoint);
  image.command = std::move(config->command);
  image.environment = std::move(config->environment);
  image.working_directory = std::move(config->working_directory);
  image.user = std::move(config->user);
  image.stop_signal = std::move(config->stop_signal);
  return {};
}

// All that can be read, without the look at their layers.
Result<std::vector<StoredReference>> ImageDirectory::read_references() const {
  auto files = host::list_directory(path_ / "refs");
  if (!files) return std::unexpected(std::move(files.error()));
  std::vector<StoredReference> references;
  for (const auto& file : *files) {
    if (!file.ends_with(".json")) continue;
    auto text = host::read_file(path_ / "refs" / file, kMaxReferenceFile);
    if (!text) continue;  // removed meanwhile
    auto document = parse_json_object(*text, file);
    if (!document) {
      host::log_warning("images: refs/{}: {}, ignoring", file, document.error().message);
      continue;
    }
    StoredReference reference;
    reference.name = string_member(*document, "name");
    reference.config = string_member(*document, "config");
    reference.digests = strings_member(*document, "digests");
    struct stat info{};
    if (fstatat(directory_.get(), ("refs/" + file).c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
      reference.last_use = time_of(info.st_mtim);
    }
    references.push_back(std::move(reference));
  }
  return references;
}

Result<std::vector<StoredReference>> ImageDirectory::references() const {
  auto references = read_references();
  if (!references) return references;
  std::erase_if(*references, [this](StoredReference& reference) {
    auto loaded = load_image(reference);
    if (!loaded) {
      host::log_warning("images: {} is incomplete ({}), ignoring", reference.name, loaded.error().message);
    }
    return !loaded;
  });
  return references;
}

const StoredReference* match(const std::vector<StoredReference>& references, const std::string& wanted) {
  for (const auto& reference : references) {
    if (reference.name == wanted || reference.config == wanted) return &reference;
  }
  if (wanted.find('@') == std::string::npos) return nullptr;
  for (const auto& reference : references) {
    if (std::ranges::find(reference.image.digests, wanted) != reference.image.digests.end()) return &reference;
  }
  return nullptr;
}

std::vector<api::ImageInfo> gather(const std::vector<StoredReference>& references) {
  std::map<std::string, api::ImageInfo> by_id;
  for (const auto& reference : references) {
    auto [at, added] = by_id.try_emplace(reference.config, reference.image);
    if (added) continue;
    for (const auto& tag : reference.image.tags) at->second.tags.push_back(tag);
    for (const auto& digest : reference.image.digests) at->second.digests.push_back(digest);
  }
  std::vector<api::ImageInfo> images;
  for (auto& [id, image] : by_id) {
    for (auto* names : {&image.tags, &image.digests}) {
      std::ranges::sort(*names);
      names->erase(std::unique(names->begin(), names->end()), names->end());
    }
    images.push_back(std::move(image));
  }
  std::ranges::sort(images, {}, [](const api::ImageInfo& image) {
    return !image.tags.empty() ? image.tags.front() : !image.digests.empty() ? image.digests.front() : image.id;
  });
  return images;
}

Result<std::vector<api::ImageInfo>> ImageDirectory::list() const {
  auto all = references();
  if (!all) return std::unexpected(std::move(all.error()));
  return gather(*all);
}

Result<api::ImageInfo> ImageDirectory::find(const std::string& reference) const {
  std::string wanted = reference;
  if (!parse_digest(reference)) {
    auto parsed = parse_reference(reference);
    if (!parsed) return std::unexpected(std::move(parsed.error()));
    wanted = parsed->text();
  }
  auto all = references();
  if (!all) return std::unexpected(std::move(all.error()));
  const auto* found = match(*all, wanted);
  if (!found) return fail(Error::Code::not_found, fmt::format("image \"{}\" is not here", wanted));
  for (auto& image : gather(*all)) {
    if (image.id == found->config) return std::move(image);
  }
  return found->image;
}

void ImageDirectory::touch(const std::string& name) const {
  // Not being able to is no matter: it only orders what is removed first.
  utimensat(directory_.get(), ("refs/" + reference_file(name)).c_str(), nullptr, AT_SYMLINK_NOFOLLOW);
}

Status ImageDirectory::remove_reference(const std::string& name) const {
  if (unlinkat(directory_.get(), ("refs/" + reference_file(name)).c_str(), 0) != 0 && errno != ENOENT) {
    return sys_fail("remove the reference " + name);
  }
  return {};
}

// Out of sight at once; file by file later, without the lock.
Result<host::Path> ImageDirectory::discard(const host::Path& directory) const {
  std::string trash = (path_ / "staging/XXXXXX").string();
  if (!mkdtemp(trash.data())) return sys_fail("make " + trash);
  if (rename(directory.c_str(), (trash + "/layer").c_str()) != 0) return sys_fail("rename " + directory.string());
  return trash;
}

void ImageDirectory::empty(const std::vector<host::Path>& trash) const {
  for (const auto& path : trash) {
    // What stays is swept at the next start.
    if (auto removed = host::remove_tree(path); !removed) {
      host::log_warning("images: remove {}: {}, ignoring", path.string(), removed.error().message);
    }
  }
}

// Layers of images that are still coming.
Result<std::set<std::string>> ImageDirectory::held_layers() const {
  std::set<std::string> held;
  auto stagings = host::list_directory(path_ / "staging");
  if (!stagings) return std::unexpected(std::move(stagings.error()));
  for (const auto& staging : *stagings) {
    auto names = host::list_directory(path_ / "staging" / staging);
    if (!names) continue;  // it has ended meanwhile
    for (const auto& name : *names) {
      if (name.starts_with(kHeld)) held.insert(name.substr(kHeld.size()));
    }
  }
  return held;
}

Status ImageDirectory::remove_unneeded(const std::vector<StoredReference>& kept, const InUse& used, Removed& removed,
                                       std::vector<host::Path>& trash) const {
  auto held = held_layers();
  if (!held) return std::unexpected(std::move(held.error()));
  std::set<std::string> needed = std::move(*held);  // hex of layers and documents
  for (const auto& reference : kept) {
    auto config = parse_digest(reference.config);
    if (!config) continue;
    needed.insert(config->hex);
    for (const auto& digest : reference.digests) {
      if (auto parsed = parse_digest(digest)) needed.insert(parsed->hex);
    }
    auto text = host::read_file(path_ / "blobs/sha256" / config->hex, kMaxManifestBytes);
    auto parsed = text ? parse_config(*text) : Result<ImageConfig>(std::unexpected(text.error()));
    if (!parsed) continue;
    for (const auto& diff_id : parsed->diff_ids) needed.insert(diff_id.hex);
  }
  auto layers = host::list_directory(path_ / "layers");
  if (!layers) return std::unexpected(std::move(layers.error()));
  for (const auto& hex : *layers) {
    host::Path layer = path_ / "layers" / hex;
    if (needed.contains(hex) || used.contains((layer / "root").string())) continue;
    Fd root(openat(directory_.get(), ("layers/" + hex + "/root").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (root && flock(root.get(), LOCK_EX | LOCK_NB) != 0) continue;  // a running container holds it
    uint64_t bytes = 0;
    if (auto text = host::read_file(layer / "layer.json", kMaxLayerRecord)) {
      if (auto record = decode_layer_record(*text)) bytes = record->bytes;
    }
    auto discarded = discard(layer);
    if (!discarded) return std::unexpected(std::move(discarded.error()));
    trash.push_back(std::move(*discarded));
    ++removed.layers;
    removed.bytes += bytes;
  }
  auto documents = host::list_directory(path_ / "blobs/sha256");
  if (!documents) return std::unexpected(std::move(documents.error()));
  for (const auto& hex : *documents) {
    if (needed.contains(hex)) continue;
    std::string file = "blobs/sha256/" + hex;
    if (unlinkat(directory_.get(), file.c_str(), 0) != 0 && errno != ENOENT) return sys_fail("remove " + file);
  }
  return {};
}

Result<Removed> ImageDirectory::remove(const std::string& reference, const InUse& in_use_as_written) const {
  const InUse used = spelled_out(in_use_as_written);
  std::string wanted = reference;
  if (!parse_digest(reference)) {
    auto parsed = parse_reference(reference);
    if (!parsed) return std::unexpected(std::move(parsed.error()));
    wanted = parsed->text();
  }
  auto held = lock();
  if (!held) return std::unexpected(std::move(held.error()));
  auto all = read_references();
  if (!all) return std::unexpected(std::move(all.error()));
  for (auto& one : *all) static_cast<void>(load_image(one));  // an incomplete one may go too
  const auto* found = match(*all, wanted);
  if (!found) return fail(Error::Code::not_found, fmt::format("image \"{}\" is not here", wanted));
  bool by_id = found->config == wanted;
  std::string id = found->config, name = found->name;
  auto goes = [&](const StoredReference& one) { return by_id ? one.config == id : one.name == name; };

  bool last = std::ranges::none_of(*all, [&](const auto& one) { return one.config == id && !goes(one); });
  for (const auto& one : *all) {
    // A name that a container goes by, and the last of an image that one runs.
    if ((goes(one) && used.contains(one.name)) || (last && one.config == id && in_use(one, used))) {
      return fail(Error::Code::denied, fmt::format("image \"{}\" is in use by a container", wanted));
    }
  }
  Removed removed;
  std::vector<StoredReference> kept;
  for (auto& one : *all) {
    if (!goes(one)) {
      kept.push_back(std::move(one));
      continue;
    }
    if (auto gone = remove_reference(one.name); !gone) return std::unexpected(std::move(gone.error()));
    removed.references.push_back(one.name);
  }
  std::vector<host::Path> trash;
  auto swept = remove_unneeded(kept, used, removed, trash);
  held->reset();
  empty(trash);
  if (!swept) return std::unexpected(std::move(swept.error()));
  return removed;
}

Result<Removed> ImageDirectory::prune(const InUse& in_use_as_written, system_clock::time_point newest,
                                      const std::function<bool(const Removed&)>& enough) const {
  const InUse used = spelled_out(in_use_as_written);
  auto held = lock();
  if (!held) return std::unexpected(std::move(held.error()));
  auto all = read_references();
  if (!all) return std::unexpected(std::move(all.error()));
  for (auto& one : *all) static_cast<void>(load_image(one));
  // By image: it is as young as the youngest of its names, and used if one of them is.
  std::map<std::string, std::pair<system_clock::time_point, bool>> images;
  for (const auto& one : *all) {
    auto& [last_use, busy] = images[one.config];
    last_use = std::max(last_use, one.last_use);
    busy = busy || in_use(one, used) ||
           std::ranges::any_of(one.image.layers, [&](const auto& layer) { return used.contains(layer); });
  }
  std::vector<std::pair<system_clock::time_point, std::string>> order;
  for (const auto& [id, state] : images) {
    if (!state.second && state.first <= newest) order.emplace_back(state.first, id);
  }
  std::ranges::sort(order);

  Removed removed;
  std::vector<host::Path> trash;
  auto swept = remove_unneeded(*all, used, removed, trash);
  for (const auto& [last_use, id] : order) {
    if (!swept || enough(removed)) break;
    for (const auto& one : *all) {
      if (one.config != id) continue;
      if (auto gone = remove_reference(one.name); !gone) return std::unexpected(std::move(gone.error()));
      removed.references.push_back(one.name);
    }
    std::erase_if(*all, [&](const StoredReference& one) { return one.config == id; });
    swept = remove_unneeded(*all, used, removed, trash);
  }
  held->reset();
  empty(trash);
  if (!swept) return std::unexpected(std::move(swept.error()));
  return removed;
}

}  // namespace keelson::images
