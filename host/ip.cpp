#include "host/ip.h"

#include <arpa/inet.h>
#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace keelson::host {
namespace {

constexpr std::array<uint8_t, 12> kMappedPrefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

// Bits past `bits` of the 16 bytes set to zero, or to one.
IpAddress with_tail(const IpAddress& address, int bits, bool ones) {
  auto bytes = address.mapped();
  for (int i = 0; i < 16; ++i) {
    const int kept = std::clamp(bits - 8 * i, 0, 8);
    const auto keep = static_cast<uint8_t>(0xff00 >> kept);
    bytes[i] = ones ? (bytes[i] | static_cast<uint8_t>(~keep)) : (bytes[i] & keep);
  }
  return IpAddress::from_wire(bytes);
}

}  // namespace

Result<IpAddress> IpAddress::parse(std::string_view text) {
  char buffer[INET6_ADDRSTRLEN];
  if (!text.empty() && text.size() < sizeof buffer && text.find('\0') == text.npos) {
    *std::copy(text.begin(), text.end(), buffer) = '\0';
    uint8_t wire[16];
    if (inet_pton(AF_INET, buffer, wire) == 1) return from_wire({wire, 4});
    if (inet_pton(AF_INET6, buffer, wire) == 1) return from_wire({wire, 16});
  }
  return fail(Error::Code::invalid, fmt::format("\"{}\" is no IP address", text));
}

IpAddress IpAddress::from_wire(std::span<const uint8_t> wire) {
  IpAddress address;
  if (wire.size() == 4) {
    std::copy(kMappedPrefix.begin(), kMappedPrefix.end(), address.bytes_.begin());
    std::copy(wire.begin(), wire.end(), address.bytes_.begin() + 12);
  } else if (wire.size() == 16) {
    std::copy(wire.begin(), wire.end(), address.bytes_.begin());
  }
  return address;
}

bool IpAddress::is_v4() const { return std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), bytes_.begin()); }

int IpAddress::family() const { return is_v4() ? AF_INET : AF_INET6; }

std::span<const uint8_t> IpAddress::wire() const { return std::span<const uint8_t>(bytes_).subspan(is_v4() ? 12 : 0); }

bool IpAddress::is_unspecified() const {
  return std::ranges::all_of(wire(), [](uint8_t byte) { return byte == 0; });
}

bool IpAddress::is_loopback() const {
  if (is_v4()) return bytes_[12] == 127;
  return bytes_[15] == 1 && std::all_of(bytes_.begin(), bytes_.end() - 1, [](uint8_t byte) { return byte == 0; });
}

bool IpAddress::is_link_local() const {
  return is_v4() ? bytes_[12] == 169 && bytes_[13] == 254 : bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80;
}

bool IpAddress::is_multicast() const { return is_v4() ? (bytes_[12] & 0xf0) == 0xe0 : bytes_[0] == 0xff; }

std::string IpAddress::to_string() const {
  char buffer[INET6_ADDRSTRLEN];
  return inet_ntop(family(), wire().data(), buffer, sizeof buffer);
}

Result<Cidr> Cidr::parse(std::string_view text) {
  const auto slash = text.find('/');
  const auto address = IpAddress::parse(text.substr(0, slash));
  const auto refused = [&] {
    return fail(Error::Code::invalid,
                fmt::format("\"{}\" is no CIDR: expected ADDRESS/PREFIX, such as 10.244.0.0/24 or fd00::/64", text));
  };
  if (!address) return refused();
  if (slash == text.npos) return around(*address, address->bits());
  // A v4-mapped network is an IPv4 one only when its prefix leaves the mapping whole.
  const bool written_as_v6 = text.substr(0, slash).find(':') != text.npos;
  const int bits = written_as_v6 ? 128 : 32;
  const auto digits = text.substr(slash + 1);
  int prefix = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix);
  if (error != std::errc() || end != digits.data() + digits.size() || digits.front() == '-' || prefix > bits ||
      (digits.size() > 1 && digits.front() == '0'))
    return refused();
  if (!written_as_v6 || !address->is_v4()) return around(*address, prefix);
  if (prefix >= 96) return around(*address, prefix - 96);
  Cidr cidr;
  cidr.address_ = with_tail(*address, prefix, false);
  cidr.prefix_ = prefix;
  return cidr;
}

Cidr Cidr::around(const IpAddress& address, int prefix) {
  Cidr cidr;
  cidr.v4_ = address.is_v4();
  cidr.prefix_ = std::clamp(prefix, 0, address.bits());
  cidr.address_ = with_tail(address, cidr.prefix_ + (cidr.v4_ ? 96 : 0), false);
  return cidr;
}

int Cidr::family() const { return v4_ ? AF_INET : AF_INET6; }

bool Cidr::contains(const IpAddress& address) const {
  return address.is_v4() == v4_ && with_tail(address, prefix_ + (v4_ ? 96 : 0), false) == address_;
}

bool Cidr::contains(const Cidr& other) const {
  return other.v4_ == v4_ && other.prefix_ >= prefix_ &&
         with_tail(other.address_, prefix_ + (v4_ ? 96 : 0), false) == address_;
}

uint64_t Cidr::size() const {
  const int host_bits = (v4_ ? 32 : 128) - prefix_;
  return host_bits >= 64 ? UINT64_MAX : uint64_t{1} << host_bits;
}

std::optional<IpAddress> Cidr::at(uint64_t n) const {
  const int host_bits = (v4_ ? 32 : 128) - prefix_;
  if (host_bits < 64 && n >> host_bits != 0) return std::nullopt;
  auto bytes = address_.mapped();
  for (int i = 15; i >= 8 && n != 0; --i, n >>= 8) bytes[i] |= static_cast<uint8_t>(n);
  return IpAddress::from_wire(bytes);
}

std::optional<uint64_t> Cidr::index_of(const IpAddress& address) const {
  if (!contains(address)) return std::nullopt;
  uint64_t n = 0;
  for (int i = 0; i < 16; ++i) {
    const uint8_t difference = address.mapped()[i] ^ address_.mapped()[i];
    if (i < 8 && difference != 0) return std::nullopt;
    n = n << 8 | difference;
  }
  return n;
}

IpAddress Cidr::last() const { return with_tail(address_, prefix_ + (v4_ ? 96 : 0), true); }

IpAddress Cidr::mask() const {
  if (v4_) return IpAddress::v4(prefix_ == 0 ? 0 : ~uint32_t{0} << (32 - prefix_));
  std::array<uint8_t, 16> ones;
  ones.fill(0xff);
  return with_tail(IpAddress::from_wire(ones), prefix_, false);
}

std::string Cidr::to_string() const { return fmt::format("{}/{}", address_.to_string(), prefix_); }

Result<std::vector<Cidr>> parse_cidrs(std::string_view text) {
  std::vector<Cidr> cidrs;
  while (!text.empty()) {
    const auto comma = text.find(',');
    auto one = text.substr(0, comma);
    while (!one.empty() && one.front() == ' ') one.remove_prefix(1);
    while (!one.empty() && one.back() == ' ') one.remove_suffix(1);
    if (!one.empty()) {
      auto cidr = Cidr::parse(one);
      if (!cidr) return std::unexpected(std::move(cidr.error()));
      cidrs.push_back(*cidr);
    }
    text = comma == text.npos ? std::string_view() : text.substr(comma + 1);
  }
  return cidrs;
}

}  // namespace keelson::host
