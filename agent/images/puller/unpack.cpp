#include "agent/images/puller/unpack.h"

#include <fmt/format.h>

#include "agent/images/puller/archive.h"

namespace keelson::images {
namespace {

using host::Error;
using host::fail;

constexpr uint64_t kAnySize = UINT64_MAX;

host::Result<UnpackedLayer> extract(ByteSource& tar, host::Fd directory, Budget& budget) {
  LayerTree tree(std::move(directory), budget);
  auto reader = TarReader::open(tar);
  if (!reader) return std::unexpected(std::move(reader.error()));
  Entry entry;
  while (true) {
    auto more = reader->next(entry);
    if (!more) return std::unexpected(std::move(more.error()));
    if (!*more) break;
    auto added = tree.add(entry, [&](const WriteAt& write) { return reader->content(write); });
    if (!added) return std::unexpected(std::move(added.error()));
  }
  if (auto finished = tree.finish(); !finished) return std::unexpected(std::move(finished.error()));
  return UnpackedLayer{tree.bytes(), tree.inodes(), tree.opaque()};
}

host::Status check_blob(HashingSource& blob, const ExpectedLayer& expected) {
  if (expected.blob_size != 0 && blob.size() != expected.blob_size) {
    return fail(Error::Code::invalid,
                fmt::format("the blob has {} bytes, its manifest says {}", blob.size(), expected.blob_size));
  }
  Digest digest = blob.finish();
  if (expected.blob && digest != *expected.blob) {
    return fail(Error::Code::invalid, fmt::format("wrong digest: the blob's content is {}, its manifest says {}",
                                                  digest.text(), expected.blob->text()));
  }
  return {};
}

}  // namespace

host::Result<UnpackedLayer> unpack_layer(ByteSource& blob, const ExpectedLayer& expected, host::Fd directory,
                                         Budget& budget, const UnpackLimits& limits) {
  uint64_t size_limit = expected.blob_size ? std::min(expected.blob_size, limits.blob_bytes) : limits.blob_bytes;
  HashingSource compressed(blob, size_limit, "the blob");
  Decompressor plain(compressed, limits.ratio, limits.ratio_free);
  HashingSource tar(plain, kAnySize, "the layer");

  auto layer = extract(tar, std::move(directory), budget);
  // What follows the archive's end belongs to both digests.
  host::Status drained = layer ? tar.drain() : host::Status{};
  if (layer && drained) drained = compressed.drain();
  if (!layer || !drained) {
    Error error = layer ? std::move(drained.error()) : std::move(layer.error());
    // Damage on the way shows as nonsense in the archive; the digest tells the two apart.
    if (error.code == Error::Code::invalid && expected.blob && compressed.drain()) {
      if (auto checked = check_blob(compressed, expected); !checked) {
        return std::unexpected(std::move(checked.error()));
      }
    }
    return std::unexpected(std::move(error));
  }
  if (auto checked = check_blob(compressed, expected); !checked) return std::unexpected(std::move(checked.error()));
  if (Digest diff_id = tar.finish(); diff_id != expected.diff_id) {
    return fail(Error::Code::invalid,
                fmt::format("wrong diff_id: the layer's content is {}, the image's config says {}", diff_id.text(),
                            expected.diff_id.text()));
  }
  return layer;
}

}  // namespace keelson::images
