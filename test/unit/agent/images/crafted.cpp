#include "crafted.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "agent/images/manifest.h"

namespace keelson::images::test {

ScratchDirectory::ScratchDirectory() {
  std::string name = (std::filesystem::temp_directory_path() / "keelson-images.XXXXXX").string();
  if (!mkdtemp(name.data())) throw std::runtime_error("mkdtemp");
  path_ = name;
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

host::Fd ScratchDirectory::open(const std::string& child) const {
  std::filesystem::create_directories(path_ / child);
  return host::Fd(::open((path_ / child).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

Tar& Tar::add(Item item) {
  items_.push_back(std::move(item));
  return *this;
}
Tar& Tar::file(const std::string& path, std::string_view content, int mode) {
  return add({.path = path,
              .target = {},
              .content = std::string(content),
              .type = AE_IFREG,
              .mode = mode,
              .size = content.size()});
}
Tar& Tar::directory(const std::string& path, int mode) { return add({.path = path, .type = AE_IFDIR, .mode = mode}); }
Tar& Tar::symlink(const std::string& path, const std::string& target) {
  return add({.path = path, .target = target, .type = AE_IFLNK});
}
Tar& Tar::hardlink(const std::string& path, const std::string& target) {
  return add({.path = path, .target = target, .type = AE_IFREG, .hard = true});
}
Tar& Tar::device(const std::string& path, bool block) {
  return add({.path = path, .type = static_cast<int>(block ? AE_IFBLK : AE_IFCHR)});
}
Tar& Tar::fifo(const std::string& path) { return add({.path = path, .type = AE_IFIFO}); }
Tar& Tar::sparse(const std::string& path, uint64_t size) {
  return add({.path = path, .content = "end", .type = AE_IFREG, .size = size, .sparse = true});
}
Tar& Tar::owner(int64_t uid, int64_t gid) {
  items_.back().uid = uid;
  items_.back().gid = gid;
  return *this;
}
Tar& Tar::xattr(const std::string& name, const std::string& value) {
  items_.back().xattrs.emplace_back(name, value);
  return *this;
}

std::string Tar::bytes() const {
  std::string out;
  archive* writer = archive_write_new();
  archive_write_set_format_pax(writer);
  archive_write_set_bytes_in_last_block(writer, 1);
  archive_write_open(
      writer, &out, nullptr,
      [](archive*, void* text, const void* data, size_t size) -> la_ssize_t {
        static_cast<std::string*>(text)->append(static_cast<const char*>(data), size);
        return static_cast<la_ssize_t>(size);
      },
      nullptr);
  for (const auto& item : items_) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, item.path.c_str());
    archive_entry_set_filetype(entry, static_cast<unsigned>(item.type));
    archive_entry_set_perm(entry, static_cast<mode_t>(item.mode));
    archive_entry_set_uid(entry, item.uid < 0 ? getuid() : item.uid);
    archive_entry_set_gid(entry, item.gid < 0 ? getgid() : item.gid);
    archive_entry_set_mtime(entry, 1'000'000'000, 5);
    archive_entry_set_size(entry, static_cast<la_int64_t>(item.size));
    if (item.type == AE_IFLNK) archive_entry_set_symlink(entry, item.target.c_str());
    if (item.hard) archive_entry_set_hardlink(entry, item.target.c_str());
    if (item.type == AE_IFCHR || item.type == AE_IFBLK) archive_entry_set_rdev(entry, makedev(8, 0));
    if (item.sparse) archive_entry_sparse_add_entry(entry, static_cast<la_int64_t>(item.size - 3), 3);
    for (const auto& [name, value] : item.xattrs) {
      archive_entry_xattr_add_entry(entry, name.c_str(), value.data(), value.size());
    }
    if (archive_write_header(writer, entry) < ARCHIVE_WARN) throw std::runtime_error(archive_error_string(writer));
    if (item.sparse) {
      // The writer keeps the extents only, but wants to be fed the holes too.
      std::string zeros(1 << 20, '\0');
      for (uint64_t left = item.size - 3; left > 0;) {
        size_t step = std::min<uint64_t>(left, zeros.size());
        archive_write_data(writer, zeros.data(), step);
        left -= step;
      }
    }
    if (!item.content.empty()) archive_write_data(writer, item.content.data(), item.content.size());
    archive_entry_free(entry);
  }
  archive_write_close(writer);
  archive_write_free(writer);
  return out;
}

std::string gzip(std::string_view plain) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, plain.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(plain.data()));
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string zstd(std::string_view plain) {
  std::string out(ZSTD_compressBound(plain.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), plain.data(), plain.size(), 3));
  return out;
}

host::Result<size_t> StringSource::read(std::span<char> buffer) {
  size_t size = std::min({buffer.size(), step_, text_.size() - position_});
  std::memcpy(buffer.data(), text_.data() + position_, size);
  position_ += size;
  return size;
}

host::Result<std::string> read_all(ByteSource& source) {
  std::string text;
  std::vector<char> buffer(100'000);
  while (true) {
    auto got = source.read(buffer);
    if (!got) return std::unexpected(got.error());
    if (*got == 0) return text;
    text.append(buffer.data(), *got);
  }
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void write_file(const std::filesystem::path& path, std::string_view content) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

namespace {

std::string store(const std::filesystem::path& layout, std::string_view content, const std::string& more = {}) {
  Digest digest = sha256(content);
  write_file(layout / "blobs/sha256" / digest.hex, content);
  return fmt::format(R"({{"digest":"{}","size":{}{}}})", digest.text(), content.size(), more);
}

}  // namespace

Digest write_layout(const std::filesystem::path& directory, const CraftedImage& image) {
  std::string layers, diff_ids;
  for (size_t i = 0; i < image.layers.size(); ++i) {
    Digest diff_id = i < image.diff_ids.size() ? image.diff_ids[i] : sha256(image.layers[i]);
    if (i > 0) layers += ",", diff_ids += ",";
    layers += store(directory, image.compress ? gzip(image.layers[i]) : image.layers[i]);
    diff_ids += fmt::format("\"{}\"", diff_id.text());
  }
  std::string architecture = image.architecture.empty() ? host_platform().architecture : image.architecture;
  std::string config = store(
      directory,
      fmt::format(R"({{"os":"linux","architecture":"{}","config":{{"Entrypoint":["/run"],"Env":["A=b"],"User":"7"}},)"
                  R"("rootfs":{{"type":"layers","diff_ids":[{}]}}}})",
                  architecture, diff_ids));
  std::string manifest = fmt::format(R"({{"schemaVersion":2,"config":{},"layers":[{}]}})", config, layers);
  Digest digest = sha256(manifest);
  std::string name = image.name.empty()
                         ? ""
                         : fmt::format(R"(,"annotations":{{"org.opencontainers.image.ref.name":"{}"}})", image.name);
  std::string descriptor = store(directory, manifest, image.index_depth == 0 ? name : "");
  for (int i = 0; i < image.index_depth; ++i) {
    descriptor = store(directory, fmt::format(R"({{"schemaVersion":2,"manifests":[{}]}})", descriptor),
                       i + 1 == image.index_depth ? name : "");
  }
  write_file(directory / "index.json", fmt::format(R"({{"schemaVersion":2,"manifests":[{}]}})", descriptor));
  write_file(directory / "oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
  return digest;
}

std::string tar_of(const std::filesystem::path& directory) {
  Tar tar;
  for (const auto& file : std::filesystem::recursive_directory_iterator(directory)) {
    if (file.is_regular_file()) tar.file(file.path().lexically_relative(directory), read_file(file.path()));
  }
  return tar.bytes();
}

}  // namespace keelson::images::test
