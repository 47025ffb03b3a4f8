#include "host/bpf.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

namespace keelson::host {

namespace {

constexpr int kTcxIngress = 46;         // BPF_TCX_INGRESS, newer than Debian 12's headers
constexpr size_t kWindow = 64u << 10;   // of a map's memory, mapped at once
constexpr uint32_t kBatch = 4096;       // entries a batch call takes at once: bounds the kernel's buffers
constexpr size_t kMessageLimit = 4096;  // of libbpf's text, the end is the telling part

// libbpf's print callback is the process's; what it prints belongs to the thread that called it.
thread_local std::string* current_messages = nullptr;

int keep_message(libbpf_print_level level, const char* format, va_list arguments) {
  if (level == LIBBPF_DEBUG || current_messages == nullptr) return 0;
  char line[2048];
  const int length = std::vsnprintf(line, sizeof(line), format, arguments);
  if (length <= 0) return 0;
  current_messages->append(line);
  if (current_messages->size() > 4 * kMessageLimit)
    current_messages->erase(0, current_messages->size() - kMessageLimit);
  return length;
}

Result<bool> is_bpffs(const Path& path) {
  struct statfs fs{};
  if (statfs(path.c_str(), &fs) != 0) return sys_fail("statfs " + path.string());
  return static_cast<uint64_t>(fs.f_type) == BPF_FS_MAGIC;
}

Result<BpfMapInfo> info_of(int fd) {
  bpf_map_info raw{};
  uint32_t length = sizeof(raw);
  if (const int error = bpf_obj_get_info_by_fd(fd, &raw, &length); error != 0) return sys_fail("bpf map info", -error);
  return BpfMapInfo{.id = raw.id,
                    .type = raw.type,
                    .key_size = raw.key_size,
                    .value_size = raw.value_size,
                    .max_entries = raw.max_entries};
}

Result<Fd> open_pin(const Path& pin) {
  const int fd = bpf_obj_get(pin.c_str());
  if (fd < 0) return sys_fail("open " + pin.string(), -fd);
  return Fd(fd);
}

Result<bpf_link_info> link_info(int fd) {
  bpf_link_info raw{};
  uint32_t length = sizeof(raw);
  if (const int error = bpf_obj_get_info_by_fd(fd, &raw, &length); error != 0) return sys_fail("bpf link info", -error);
  return raw;
}

}  // namespace

BpfMessages::BpfMessages() : previous_(current_messages) {
  libbpf_set_print(keep_message);
  current_messages = &text_;
}

BpfMessages::~BpfMessages() { current_messages = previous_; }

std::unexpected<Error> BpfMessages::fail(std::string_view what, int error_number) const {
  auto error = sys_fail(what, error_number).error();
  std::string_view said = text_;
  if (said.size() > kMessageLimit) said.remove_prefix(said.size() - kMessageLimit);
  while (!said.empty() && said.back() == '\n') said.remove_suffix(1);
  if (!said.empty()) error.message += fmt::format(" ({})", said);
  return std::unexpected(std::move(error));
}

Status prepare_bpffs(const Path& directory) {
  const Path standard = "/sys/fs/bpf";
  const auto [standard_end, ignored] =
      std::mismatch(standard.begin(), standard.end(), directory.begin(), directory.end());
  if (standard_end == standard.end()) {
    if (auto mounted = is_bpffs(standard); !mounted) {
      return std::unexpected(mounted.error());
    } else if (!*mounted && mount("bpf", standard.c_str(), "bpf", 0, "mode=0700") != 0) {
      return sys_fail("mount a bpf file system on " + standard.string());
    }
  }
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return sys_fail("mkdir " + directory.string(), error.value());
  auto on_bpffs = is_bpffs(directory);
  if (!on_bpffs) return std::unexpected(on_bpffs.error());
  if (!*on_bpffs)
    return fail(Error::Code::invalid, fmt::format("{} is not on a bpf file system: mount one (mount -t bpf bpf {}) or "
                                                  "name a directory beneath /sys/fs/bpf",
                                                  directory.string(), directory.parent_path().string()));
  return {};
}

BpfMemory::BpfMemory(BpfMemory&& other) noexcept
    : map_(std::move(other.map_)),
      data_(std::exchange(other.data_, nullptr)),
      length_(other.length_),
      stride_(other.stride_),
      mapped_(std::move(other.mapped_)),
      elements_(std::exchange(other.elements_, 0)) {}

BpfMemory& BpfMemory::operator=(BpfMemory&& other) noexcept {
  std::swap(map_, other.map_);
  std::swap(data_, other.data_);
  std::swap(length_, other.length_);
  std::swap(stride_, other.stride_);
  std::swap(mapped_, other.mapped_);
  std::swap(elements_, other.elements_);
  return *this;
}

BpfMemory::~BpfMemory() {
  if (data_ != nullptr) munmap(data_, length_);
}

std::byte* BpfMemory::element(uint32_t index) const {
  const size_t begin = static_cast<size_t>(index) * stride_;
  const size_t first = begin / kWindow, last = (begin + stride_ - 1) / kWindow;
  if (!mapped_[first]) map_window(first);
  if (!mapped_[last]) map_window(last);
  return data_ + begin;
}

void BpfMemory::map_window(size_t window) const {
  const size_t begin = window * kWindow;
  void* mapped = mmap(data_ + begin, std::min(kWindow, length_ - begin), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                      map_.get(), static_cast<off_t>(begin));
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  mapped_[window] = true;
}

Result<BpfMap> BpfMap::duplicate(int fd) {
  BpfMap map;
  map.fd_ = Fd(fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!map.fd_) return sys_fail("duplicate a bpf map's descriptor");
  auto info = info_of(map.fd_.get());
  if (!info) return std::unexpected(info.error());
  map.info_ = *info;
  return map;
}

Result<BpfMap> BpfMap::open_pinned(const Path& pin) {
  auto fd = open_pin(pin);
  if (!fd) return std::unexpected(fd.error());
  BpfMap map;
  map.fd_ = std::move(*fd);
  auto info = info_of(map.fd_.get());
  if (!info) return std::unexpected(info.error());
  map.info_ = *info;
  return map;
}

Result<BpfMemory> BpfMap::map_memory() const {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  BpfMemory memory;
  memory.stride_ = (info_.value_size + 7u) & ~size_t{7};
  memory.length_ = (memory.stride_ * info_.max_entries + page - 1) / page * page;
  memory.map_ = Fd(fcntl(fd_.get(), F_DUPFD_CLOEXEC, 3));
  if (!memory.map_) return sys_fail("duplicate a bpf map's descriptor");
  void* data = mmap(nullptr, memory.length_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) return sys_fail("reserve addresses for a bpf map");
  memory.data_ = static_cast<std::byte*>(data);
  memory.mapped_.resize((memory.length_ + kWindow - 1) / kWindow);
  memory.elements_ = info_.max_entries;
  if (memory.elements_ > 0) {
    // Whether it can be mapped at all is found out here, where it can be told.
    void* window =
        mmap(data, std::min(kWindow, memory.length_), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd_.get(), 0);
    if (window == MAP_FAILED) return sys_fail("mmap a bpf map");
    memory.mapped_[0] = true;
  }
  return memory;
}

Status BpfMap::update(const void* key, const void* value) const {
  if (const int error = bpf_map_update_elem(fd_.get(), key, value, BPF_ANY); error != 0)
    return sys_fail("update a bpf map", -error);
  return {};
}

Status BpfMap::erase(const void* key) const {
  if (const int error = bpf_map_delete_elem(fd_.get(), key); error != 0 && error != -ENOENT)
    return sys_fail("delete from a bpf map", -error);
  return {};
}

Status BpfMap::lookup(const void* key, void* value) const {
  if (const int error = bpf_map_lookup_elem(fd_.get(), key, value); error != 0)
    return sys_fail("look up in a bpf map", -error);
  return {};
}

Status BpfMap::update_batch(const void* keys, const void* values, uint32_t count) const {
  const auto* key = static_cast<const std::byte*>(keys);
  const auto* value = static_cast<const std::byte*>(values);
  LIBBPF_OPTS(bpf_map_batch_opts, options, .elem_flags = BPF_ANY, .flags = 0);
  while (count > 0) {
    uint32_t done = std::min(count, kBatch);
    if (const int error = bpf_map_update_batch(fd_.get(), key, value, &done, &options); error != 0)
      return sys_fail("update a bpf map", -error);
    key += static_cast<size_t>(done) * info_.key_size;
    value += static_cast<size_t>(done) * info_.value_size;
    count -= done;
  }
  return {};
}

Status BpfMap::erase_batch(const void* keys, uint32_t count) const {
  const auto* key = static_cast<const std::byte*>(keys);
  for (; count > 0; --count, key += info_.key_size) {
    if (auto erased = erase(key); !erased) return erased;
  }
  return {};
}

Status BpfMap::for_each(const std::function<void(const void*, const void*)>& visit) const {
  // A batch is whole buckets, so that a walk neither ends early nor begins anew when an
  // entry goes under it.
  std::vector<std::byte> keys(size_t{kBatch} * info_.key_size), values(size_t{kBatch} * info_.value_size);
  LIBBPF_OPTS(bpf_map_batch_opts, options, .elem_flags = 0, .flags = 0);
  uint32_t position = 0;  // opaque: the bucket to go on with
  for (bool first = true;; first = false) {
    uint32_t count = kBatch;
    const int error = bpf_map_lookup_batch(fd_.get(), first ? nullptr : &position, &position, keys.data(),
                                           values.data(), &count, &options);
    if (error != 0 && error != -ENOENT) return sys_fail("walk a bpf map", -error);
    for (uint32_t i = 0; i < count; ++i)
      visit(keys.data() + size_t{i} * info_.key_size, values.data() + size_t{i} * info_.value_size);
    if (error == -ENOENT) return {};
  }
}

Result<BpfMapInfo> pinned_map_info(const Path& pin) {
  auto fd = open_pin(pin);
  if (!fd) return std::unexpected(fd.error());
  return info_of(fd->get());
}

Result<BpfLink> BpfLink::attach_cgroup(int program, int cgroup, uint32_t attach_type) {
  const int fd = bpf_link_create(program, cgroup, static_cast<bpf_attach_type>(attach_type), nullptr);
  if (fd < 0) return sys_fail("attach a bpf program to the cgroup", -fd);
  BpfLink link;
  link.fd_ = Fd(fd);
  return link;
}

Result<BpfLink> BpfLink::attach_tcx_ingress(int program, int interface_index) {
  const int fd = bpf_link_create(program, interface_index, static_cast<bpf_attach_type>(kTcxIngress), nullptr);
  if (fd < 0) {
    auto error = sys_fail(fmt::format("attach a bpf program to interface {}", interface_index), -fd);
    if (fd == -EINVAL) error.error().code = Error::Code::unsupported;  // an unknown attach type, before 6.6
    return error;
  }
  BpfLink link;
  link.fd_ = Fd(fd);
  return link;
}

Result<BpfLink> BpfLink::open_pinned(const Path& pin) {
  auto fd = open_pin(pin);
  if (!fd) return std::unexpected(fd.error());
  BpfLink link;
  link.fd_ = std::move(*fd);
  return link;
}

Status BpfLink::update(int program) const {
  if (const int error = bpf_link_update(fd_.get(), program, nullptr); error != 0)
    return sys_fail("swap an attached bpf program", -error);
  return {};
}

Status BpfLink::pin(const Path& pin) const {
  if (const int error = bpf_obj_pin(fd_.get(), pin.c_str()); error != 0) return sys_fail("pin " + pin.string(), -error);
  return {};
}

Result<uint64_t> BpfLink::cgroup_id() const {
  auto info = link_info(fd_.get());
  if (!info) return std::unexpected(info.error());
  return info->cgroup.cgroup_id;
}

Result<uint32_t> BpfLink::interface_index() const {
  auto info = link_info(fd_.get());
  if (!info) return std::unexpected(info.error());
  // struct { __u32 ifindex; __u32 attach_type; } tcx: newer than Debian 12's headers, same place in the union.
  return info->netns.netns_ino;
}

Status BpfLink::detach() const {
  if (const int error = bpf_link_detach(fd_.get()); error != 0) return sys_fail("detach a bpf program", -error);
  return {};
}

Result<uint64_t> cgroup_id_of(const Path& directory) {
  alignas(file_handle) std::byte raw[sizeof(file_handle) + sizeof(uint64_t)] = {};
  auto* handle = reinterpret_cast<file_handle*>(raw);
  handle->handle_bytes = sizeof(uint64_t);
  int mount_id = 0;
  if (name_to_handle_at(AT_FDCWD, directory.c_str(), handle, &mount_id, 0) != 0)
    return sys_fail("cgroup id of " + directory.string());
  uint64_t id = 0;
  std::memcpy(&id, raw + sizeof(file_handle), sizeof(id));
  return id;
}

Result<bool> attach_tc_ingress(int program, int interface_index, uint32_t priority) {
  const BpfMessages messages;
  LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = interface_index, .attach_point = BPF_TC_INGRESS);
  const int created = bpf_tc_hook_create(&hook);
  if (created != 0 && created != -EEXIST)
    return messages.fail(fmt::format("clsact on interface {}", interface_index), -created);
  LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = program, .flags = BPF_TC_F_REPLACE, .handle = 1, .priority = priority);
  if (const int error = bpf_tc_attach(&hook, &options); error != 0)
    return messages.fail(fmt::format("tc filter on interface {}", interface_index), -error);
  return created == 0;
}

Status detach_tc_ingress(int interface_index, uint32_t priority, bool clsact) {
  const BpfMessages messages;
  const auto absent = [](int error) { return error == 0 || error == -ENOENT || error == -EINVAL || error == -ENODEV; };
  LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = interface_index, .attach_point = BPF_TC_INGRESS);
  LIBBPF_OPTS(bpf_tc_opts, options, .handle = 1, .priority = priority);
  int error = bpf_tc_detach(&hook, &options);
  if (absent(error) && clsact) {
    hook.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);  // the qdisc itself
    error = bpf_tc_hook_destroy(&hook);
  }
  if (!absent(error))
    return messages.fail(fmt::format("remove the tc filter of interface {}", interface_index), -error);
  return {};
}

struct BpfRing::Impl {
  std::function<void(std::span<const std::byte>)> event;
  ring_buffer* ring = nullptr;

  static int on_event(void* context, void* data, size_t size) {
    static_cast<Impl*>(context)->event({static_cast<const std::byte*>(data), size});
    return 0;
  }
  ~Impl() { ring_buffer__free(ring); }
};

BpfRing::BpfRing(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
BpfRing::~BpfRing() = default;

Result<std::unique_ptr<BpfRing>> BpfRing::open(int map_fd, std::function<void(std::span<const std::byte>)> event) {
  const BpfMessages messages;
  auto impl = std::make_unique<Impl>();
  impl->event = std::move(event);
  impl->ring = ring_buffer__new(map_fd, Impl::on_event, impl.get(), nullptr);
  if (impl->ring == nullptr) return messages.fail("open the ring of flow events", errno);
  return std::unique_ptr<BpfRing>(new BpfRing(std::move(impl)));
}

void BpfRing::drain() { ring_buffer__consume(impl_->ring); }
int BpfRing::fd() const { return ring_buffer__epoll_fd(impl_->ring); }

}  // namespace keelson::host
