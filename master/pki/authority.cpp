#include "master/pki/authority.h"

#include <arpa/inet.h>
#include <fmt/chrono.h>
#include <fmt/core.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <optional>

namespace keelson::pki {

using host::Error;
using host::fail;
using host::Path;
using host::Result;

namespace {

template <auto release>
struct Release {
  template <typename T>
  void operator()(T* object) const {
    release(object);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Release<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Release<X509_free>>;
using Bio = std::unique_ptr<BIO, Release<BIO_free_all>>;
using Extension = std::unique_ptr<X509_EXTENSION, Release<X509_EXTENSION_free>>;
using Number = std::unique_ptr<BIGNUM, Release<BN_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, Release<GENERAL_NAMES_free>>;
using Usages = std::unique_ptr<EXTENDED_KEY_USAGE, Release<EXTENDED_KEY_USAGE_free>>;

std::unexpected<Error> crypto_fail(std::string_view what) {
  const auto code = ERR_peek_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  ERR_clear_error();
  return fail(fmt::format("{}: {}", what, reason == nullptr ? "OpenSSL failed" : reason));
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<size_t>(size)};
}

Result<std::string> pem_of(X509* certificate) {
  Bio bio(BIO_new(BIO_s_mem()));
  if (!bio || PEM_write_bio_X509(bio.get(), certificate) != 1) return crypto_fail("write certificate");
  return text_of(bio.get());
}

Result<std::string> pem_of(EVP_PKEY* key) {
  Bio bio(BIO_new(BIO_s_secmem()));  // wiped when it goes
  if (!bio || PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return crypto_fail("write private key");
  }
  return text_of(bio.get());
}

Result<Certificate> read_certificate(const std::string& pem, const Path& file) {
  Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  if (!certificate) return crypto_fail(file.string());
  return certificate;
}

Result<Key> read_key(const std::string& pem, const Path& file) {
  Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  // No passphrase: with none given OpenSSL would ask the terminal for it.
  Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, [](char*, int, int, void*) { return 0; }, nullptr));
  if (!key) return crypto_fail(file.string());
  return key;
}

Result<Key> generate_key() {
  Key key(EVP_EC_gen("P-256"));
  if (!key) return crypto_fail("make an EC key");
  return key;
}

host::Status add_extension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  Extension extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  if (!extension || X509_add_ext(certificate, extension.get(), -1) != 1) return crypto_fail(OBJ_nid2sn(nid));
  return {};
}

std::optional<std::string> address_bytes(const std::string& text) {
  std::array<char, 16> bytes{};
  if (::inet_pton(AF_INET, text.c_str(), bytes.data()) == 1) return std::string(bytes.data(), 4);
  if (::inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1) return std::string(bytes.data(), 16);
  return {};
}

// As DER, not through OpenSSL's configuration syntax: a name with a comma adds nothing.
host::Status add_names(X509* certificate, const Subject& subject) {
  if (subject.dns_names.empty() && subject.addresses.empty()) return {};
  Names names(GENERAL_NAMES_new());
  const auto add = [&names](int type, std::string_view bytes) {
    GENERAL_NAME* name = GENERAL_NAME_new();
    ASN1_STRING* value = type == GEN_DNS ? static_cast<ASN1_STRING*>(ASN1_IA5STRING_new()) : ASN1_OCTET_STRING_new();
    ASN1_STRING_set(value, bytes.data(), static_cast<int>(bytes.size()));
    GENERAL_NAME_set0_value(name, type, value);
    sk_GENERAL_NAME_push(names.get(), name);
  };
  for (const auto& name : subject.dns_names) add(GEN_DNS, name);
  for (const auto& address : subject.addresses) {
    const auto bytes = address_bytes(address);
    if (!bytes) return fail(Error::Code::invalid, fmt::format("\"{}\" is not an IP address", address));
    add(GEN_IPADD, *bytes);
  }
  if (X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, X509V3_ADD_DEFAULT) != 1) {
    return crypto_fail("subjectAltName");
  }
  return {};
}

host::Status set_serial(X509* certificate) {
  std::array<unsigned char, 16> random{};
  if (RAND_bytes(random.data(), random.size()) != 1) return crypto_fail("random serial number");
  random[0] &= 0x7f;  // positive (RFC 5280 4.1.2.2)
  Number number(BN_bin2bn(random.data(), random.size(), nullptr));
  if (!number || BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) == nullptr) {
    return crypto_fail("serial number");
  }
  return {};
}

bool set_name(X509_NAME* name, int nid, const std::string& value) {
  return X509_NAME_add_entry_by_NID(name, nid, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.data()),
                                    static_cast<int>(value.size()), -1, 0) == 1;
}

// What all certificates of ours have; extensions and signature are still to come.
Result<Certificate> draft(const Subject& subject, EVP_PKEY* key, Time from, Time to) {
  Certificate certificate(X509_new());
  if (!certificate || X509_set_version(certificate.get(), 2) != 1) return crypto_fail("make a certificate");
  if (auto set = set_serial(certificate.get()); !set) return std::unexpected(set.error());
  ASN1_TIME_set(X509_getm_notBefore(certificate.get()), std::chrono::system_clock::to_time_t(from));
  ASN1_TIME_set(X509_getm_notAfter(certificate.get()), std::chrono::system_clock::to_time_t(to));
  X509_NAME* name = X509_get_subject_name(certificate.get());
  bool named = true;
  for (const auto& organization : subject.organizations) named &= set_name(name, NID_organizationName, organization);
  named &= set_name(name, NID_commonName, subject.common_name);
  if (!named) {
    auto failure = crypto_fail("subject");
    failure.error().code = Error::Code::invalid;  // too long, or not UTF-8
    return failure;
  }
  if (X509_set_pubkey(certificate.get(), key) != 1) return crypto_fail("public key");
  return certificate;
}

host::Status sign(X509* certificate, EVP_PKEY* key) {
  if (X509_sign(certificate, key, EVP_sha256()) == 0) return crypto_fail("sign certificate");
  return {};
}

Time time_of(const ASN1_TIME* time) {
  tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return Time{};
  return std::chrono::system_clock::from_time_t(::timegm(&parts));
}

std::vector<std::string> entries(X509* certificate, int nid) {
  std::vector<std::string> found;
  auto* name = X509_get_subject_name(certificate);
  for (int at = X509_NAME_get_index_by_NID(name, nid, -1); at >= 0; at = X509_NAME_get_index_by_NID(name, nid, at)) {
    const ASN1_STRING* text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
    found.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                       static_cast<size_t>(ASN1_STRING_length(text)));
  }
  std::ranges::sort(found);
  return found;
}

// Every name that is asked for; more do no harm here (an address that the host no longer has
// is not worth a new certificate).
bool names_all(X509* certificate, const Subject& subject) {
  std::vector<std::string> found;
  Names names(static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    int type = 0;
    const auto* value =
        static_cast<ASN1_STRING*>(GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names.get(), i), &type));
    if (type != GEN_DNS && type != GEN_IPADD) continue;
    found.emplace_back(type == GEN_DNS ? "D" : "A");
    found.back().append(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                        static_cast<size_t>(ASN1_STRING_length(value)));
  }
  const auto has = [&found](const std::string& name) { return std::ranges::find(found, name) != found.end(); };
  return std::ranges::all_of(subject.dns_names, [&](const auto& name) { return has("D" + name); }) &&
         std::ranges::all_of(subject.addresses, [&](const auto& address) {
           const auto bytes = address_bytes(address);
           return bytes && has("A" + *bytes);
         });
}

bool same_usages(X509* certificate, const Subject& subject) {
  const uint32_t usages = X509_get_extended_key_usage(certificate);
  return usages != UINT32_MAX && ((usages & XKU_SSL_SERVER) != 0) == subject.server &&
         ((usages & XKU_SSL_CLIENT) != 0) == subject.client;
}

// Only ours may read it, whatever the umask or an older program left.
Result<std::string> read_private(const Path& file) {
  struct stat status{};
  if (::stat(file.c_str(), &status) == 0 && (status.st_mode & 077) != 0) ::chmod(file.c_str(), 0600);
  return host::read_file(file, 1U << 20);
}

}  // namespace

struct Authority::Impl {
  Path directory;
  Certificate certificate;
  Key key;
  std::string pem;

  // Nothing: the certificate may stay. Otherwise why it may not.
  std::string outdated(const Path& certificate_file, const Path& key_file, const Subject& subject, Time now,
                       std::string& not_after) const;
};

Authority::Authority(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Authority::~Authority() = default;

const std::string& Authority::certificate() const { return impl_->pem; }
Path Authority::certificate_file() const { return impl_->directory / "ca.crt"; }

namespace {

// A certificate of its own for the key.
Result<std::string> certify(EVP_PKEY* key, Time now) {
  const Time from = now - std::chrono::minutes(5);
  auto made = draft({.common_name = "keelson-ca"}, key, from, from + kAuthorityLifetime);
  if (!made) return std::unexpected(made.error());
  X509* certificate = made->get();
  X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
  for (const auto& [nid, value] : {std::pair{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                                   std::pair{NID_key_usage, "critical,digitalSignature,keyCertSign,cRLSign"},
                                   std::pair{NID_subject_key_identifier, "hash"}}) {
    if (auto added = add_extension(certificate, certificate, nid, value); !added) return std::unexpected(added.error());
  }
  if (auto done = sign(certificate, key); !done) return std::unexpected(done.error());
  return pem_of(certificate);
}

host::Status create(const Path& certificate_file, const Path& key_file, Time now) {
  std::error_code ignored;
  Key key;
  if (std::filesystem::exists(key_file, ignored)) {
    auto pem = read_private(key_file);
    if (!pem) return std::unexpected(pem.error());
    auto there = read_key(*pem, key_file);
    if (!there) return std::unexpected(there.error());
    key = std::move(*there);
  } else {
    auto generated = generate_key();
    if (!generated) return std::unexpected(generated.error());
    key = std::move(*generated);
    auto pem = pem_of(key.get());
    if (!pem) return std::unexpected(pem.error());
    if (auto written = host::write_file_atomically(key_file, *pem, 0600); !written) return written;
  }
  auto certificate = certify(key.get(), now);
  if (!certificate) return std::unexpected(certificate.error());
  return host::write_file_atomically(certificate_file, *certificate, 0644);
}

}  // namespace

Result<std::unique_ptr<Authority>> Authority::open_or_create(const Path& directory, Time now) {
  if (auto made = host::make_directories(directory, 0700); !made) return std::unexpected(made.error());
  const Path certificate_file = directory / "ca.crt";
  const Path key_file = directory / "ca.key";
  std::error_code ignored;
  if (!std::filesystem::exists(certificate_file, ignored)) {
    if (auto created = create(certificate_file, key_file, now); !created) return std::unexpected(created.error());
  }
  auto impl = std::make_unique<Impl>();
  impl->directory = directory;
  auto certificate_pem = host::read_file(certificate_file, 1U << 20);
  if (!certificate_pem) return std::unexpected(certificate_pem.error());
  impl->pem = *certificate_pem;
  auto certificate = read_certificate(impl->pem, certificate_file);
  if (!certificate) return std::unexpected(certificate.error());
  impl->certificate = std::move(*certificate);
  auto key_pem = read_private(key_file);
  if (!key_pem) return std::unexpected(key_pem.error());
  auto key = read_key(*key_pem, key_file);
  if (!key) return std::unexpected(key.error());
  impl->key = std::move(*key);
  if (X509_check_private_key(impl->certificate.get(), impl->key.get()) != 1) {
    ERR_clear_error();
    return fail(Error::Code::invalid,
                fmt::format("{} and {} do not belong together", certificate_file.string(), key_file.string()));
  }
  if (X509_check_ca(impl->certificate.get()) == 0) {
    return fail(Error::Code::invalid, fmt::format("{} is not an authority's", certificate_file.string()));
  }
  if (time_of(X509_get0_notAfter(impl->certificate.get())) <= now) {
    return fail(Error::Code::invalid, fmt::format("{} has expired: remove it and {} for a new authority, and give "
                                                  "everybody new certificates",
                                                  certificate_file.string(), key_file.string()));
  }
  return std::unique_ptr<Authority>(new Authority(std::move(impl)));
}

Result<KeyPair> Authority::issue(const Subject& subject, Time now, std::chrono::seconds lifetime) const {
  auto key = generate_key();
  if (!key) return std::unexpected(key.error());
  const Time from = now - std::chrono::minutes(5);
  const Time to = std::min<Time>(now + lifetime, time_of(X509_get0_notAfter(impl_->certificate.get())));
  auto made = draft(subject, key->get(), from, to);
  if (!made) return std::unexpected(std::move(made.error()).within(subject.common_name));
  X509* certificate = made->get();
  X509* issuer = impl_->certificate.get();
  X509_set_issuer_name(certificate, X509_get_subject_name(issuer));
  std::string usages;
  if (subject.server) usages = "serverAuth";
  if (subject.client) usages += usages.empty() ? "clientAuth" : ",clientAuth";
  for (const auto& [nid, value] :
       {std::pair{NID_basic_constraints, "critical,CA:FALSE"}, std::pair{NID_key_usage, "critical,digitalSignature"},
        std::pair{NID_ext_key_usage, usages.c_str()}, std::pair{NID_subject_key_identifier, "hash"},
        std::pair{NID_authority_key_identifier, "keyid"}}) {
    if (auto added = add_extension(certificate, issuer, nid, value); !added) return std::unexpected(added.error());
  }
  if (auto added = add_names(certificate, subject); !added) {
    return std::unexpected(std::move(added.error()).within(subject.common_name));
  }
  if (auto done = sign(certificate, impl_->key.get()); !done) return std::unexpected(done.error());
  auto certificate_pem = pem_of(certificate);
  if (!certificate_pem) return std::unexpected(certificate_pem.error());
  auto key_pem = pem_of(key->get());
  if (!key_pem) return std::unexpected(key_pem.error());
  return KeyPair{*certificate_pem, *key_pem};
}

std::string Authority::Impl::outdated(const Path& certificate_file, const Path& key_file, const Subject& subject,
                                      Time now, std::string& not_after) const {
  auto pem = host::read_file(certificate_file, 1U << 20);
  if (!pem) return pem.error().code == Error::Code::not_found ? "there was none" : pem.error().message;
  auto found = read_certificate(*pem, certificate_file);
  if (!found) return found.error().message;
  auto key_pem = read_private(key_file);
  if (!key_pem) return key_pem.error().message;
  auto found_key = read_key(*key_pem, key_file);
  if (!found_key) return found_key.error().message;
  X509* there = found->get();
  const bool fits = X509_check_private_key(there, found_key->get()) == 1;
  const bool ours = X509_verify(there, key.get()) == 1;
  ERR_clear_error();
  if (!fits) return "its key is another one";
  if (!ours) return "another authority signed it";
  const Time from = time_of(X509_get0_notBefore(there));
  const Time to = time_of(X509_get0_notAfter(there));
  if (to - now < (to - from) / 3) return fmt::format("it ends {:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(to));
  auto organizations = subject.organizations;
  std::ranges::sort(organizations);
  if (entries(there, NID_commonName) != std::vector{subject.common_name} ||
      entries(there, NID_organizationName) != organizations || !same_usages(there, subject)) {
    return "it is another subject's";
  }
  if (!names_all(there, subject)) return "names or addresses came to it";
  not_after = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(to)));
  return {};
}

Result<Authority::Ensured> Authority::ensure(std::string_view name, const Subject& subject, Time now,
                                             std::chrono::seconds lifetime) const {
  Ensured ensured{.certificate_file = impl_->directory / fmt::format("{}.crt", name),
                  .key_file = impl_->directory / fmt::format("{}.key", name)};
  ensured.why = impl_->outdated(ensured.certificate_file, ensured.key_file, subject, now, ensured.not_after);
  if (ensured.why.empty()) return ensured;
  auto pair = issue(subject, now, lifetime);
  if (!pair) return std::unexpected(pair.error());
  // A crash between the two leaves a pair that does not fit, which the next start replaces.
  if (auto written = host::write_file_atomically(ensured.key_file, pair->key, 0600); !written) {
    return std::unexpected(written.error());
  }
  if (auto written = host::write_file_atomically(ensured.certificate_file, pair->certificate, 0644); !written) {
    return std::unexpected(written.error());
  }
  ensured.renewed = true;
  std::string not_after;
  impl_->outdated(ensured.certificate_file, ensured.key_file, subject, now, not_after);
  ensured.not_after = not_after;
  return ensured;
}

}  // namespace keelson::pki
