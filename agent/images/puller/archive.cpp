#include "agent/images/puller/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>
#include <locale.h>

#include <optional>
#include <vector>

namespace keelson::images {
namespace {

using host::Error;
using host::fail;

// libarchive converts names by the thread's locale; in "C" it loses every UTF-8 name.
class Utf8Locale {
 public:
  Utf8Locale() {
    // Loaded once and never freed: glibc opens its converters anew for every locale.
    static const locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    if (utf8) before_ = uselocale(utf8);
  }
  ~Utf8Locale() {
    if (before_) uselocale(before_);
  }
  Utf8Locale(const Utf8Locale&) = delete;
  Utf8Locale& operator=(const Utf8Locale&) = delete;

 private:
  locale_t before_ = nullptr;
};

std::string text_of(const char* plain, const char* utf8) { return plain ? plain : utf8 ? utf8 : ""; }

Entry::Type type_of(archive_entry* raw) {
  if (archive_entry_hardlink(raw) || archive_entry_hardlink_utf8(raw)) return Entry::Type::hardlink;
  switch (archive_entry_filetype(raw)) {
    case AE_IFREG:
      return Entry::Type::file;
    case AE_IFDIR:
      return Entry::Type::directory;
    case AE_IFLNK:
      return Entry::Type::symlink;
    case AE_IFCHR:
      return Entry::Type::character_device;
    case AE_IFBLK:
      return Entry::Type::block_device;
    case AE_IFIFO:
      return Entry::Type::fifo;
    default:
      return Entry::Type::other;
  }
}

}  // namespace

struct TarReader::State {
  ByteSource& source;
  std::vector<char> buffer = std::vector<char>(256 << 10);
  std::optional<Error> source_error;
  archive* reader = archive_read_new();

  ~State() { archive_read_free(reader); }

  static la_ssize_t read(archive*, void* self, const void** data) {
    auto& state = *static_cast<State*>(self);
    auto got = state.source.read(state.buffer);
    if (!got) {
      state.source_error = std::move(got.error());
      return -1;
    }
    *data = state.buffer.data();
    return static_cast<la_ssize_t>(*got);
  }

  std::unexpected<Error> failure() {
    if (source_error) return std::unexpected(*source_error);
    const char* text = archive_error_string(reader);
    return fail(Error::Code::invalid, fmt::format("the archive is damaged: {}", text ? text : "no reason given"));
  }
};

TarReader::TarReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
TarReader::TarReader(TarReader&&) noexcept = default;
TarReader::~TarReader() = default;

host::Result<TarReader> TarReader::open(ByteSource& source) {
  std::unique_ptr<State> state(new State{source});
  if (!state->reader) return fail("libarchive: out of memory");
  Utf8Locale locale;
  archive_read_support_format_tar(state->reader);
  archive_read_support_format_empty(state->reader);
  archive_read_support_filter_none(state->reader);
  if (archive_read_open(state->reader, state.get(), nullptr, State::read, nullptr) != ARCHIVE_OK) {
    return state->failure();
  }
  return TarReader(std::move(state));
}

host::Result<bool> TarReader::next(Entry& entry) {
  Utf8Locale locale;
  archive_entry* raw = nullptr;
  int code = archive_read_next_header(state_->reader, &raw);
  if (code == ARCHIVE_EOF) return false;
  // A warning is about names that do not convert; their bytes are there.
  if (code != ARCHIVE_OK && code != ARCHIVE_WARN) return state_->failure();
  entry = {};
  entry.type = type_of(raw);
  entry.path = text_of(archive_entry_pathname(raw), archive_entry_pathname_utf8(raw));
  if (entry.type == Entry::Type::hardlink) {
    entry.target = text_of(archive_entry_hardlink(raw), archive_entry_hardlink_utf8(raw));
  } else if (entry.type == Entry::Type::symlink) {
    entry.target = text_of(archive_entry_symlink(raw), archive_entry_symlink_utf8(raw));
  }
  entry.mode = archive_entry_perm(raw);
  entry.uid = archive_entry_uid(raw);
  entry.gid = archive_entry_gid(raw);
  entry.mtime = {.tv_sec = archive_entry_mtime(raw), .tv_nsec = archive_entry_mtime_nsec(raw)};
  if (archive_entry_size(raw) < 0) return fail(Error::Code::invalid, "the archive is damaged: a negative size");
  entry.size = static_cast<uint64_t>(archive_entry_size(raw));
  archive_entry_xattr_reset(raw);
  const char* name = nullptr;
  const void* value = nullptr;
  size_t size = 0;
  while (archive_entry_xattr_next(raw, &name, &value, &size) == ARCHIVE_OK) {
    if (name) entry.xattrs.emplace_back(name, std::string(static_cast<const char*>(value), size));
  }
  return true;
}

host::Status TarReader::content(const WriteAt& write) {
  while (true) {
    const void* data = nullptr;
    size_t size = 0;
    la_int64_t offset = 0;
    int code = archive_read_data_block(state_->reader, &data, &size, &offset);
    if (code == ARCHIVE_EOF) return {};
    if (code != ARCHIVE_OK && code != ARCHIVE_WARN) return state_->failure();
    if (offset < 0) return fail(Error::Code::invalid, "the archive is damaged: a negative offset");
    if (auto done = write({static_cast<const char*>(data), size}, static_cast<uint64_t>(offset)); !done) return done;
  }
}

}  // namespace keelson::images
