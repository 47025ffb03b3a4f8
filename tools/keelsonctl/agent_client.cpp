#include "tools/keelsonctl/agent_client.h"

// cpprestsdk defines a macro U otherwise, which breaks fmt.
#define _TURN_OFF_PLATFORM_STRING  // NOLINT
#include <cpprest/http_client.h>
#include <cpprest/rawptrstream.h>
#include <cpprest/ws_client.h>
#include <fmt/format.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <pplx/threadpool.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <future>
#include <mutex>

#include "api/codec.h"
#include "tools/keelsonctl/terminal.h"

namespace keelson::ctl {

namespace {

namespace rest = web::http;
namespace sockets = web::websockets::client;

constexpr auto kAnswerTime = std::chrono::seconds(30);
constexpr auto kEndless = std::chrono::hours(24 * 365);  // drain, logs -f
constexpr size_t kBlock = 64u << 10;

bool is_loopback(const std::string& host) {
  return host == "localhost" || host.starts_with("127.") || host == "[::1]" || host == "::1";
}

// The token is missing quietly: without one the agent says what it needs.
host::Result<std::string> read_token(const host::Path& root_dir) {
  auto text = host::read_file(root_dir / "api.token", 4096);
  if (!text) return text;
  while (!text->empty() && text->back() == '\n') text->pop_back();
  return text;
}

using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

// The first of the file, which is what its owner shows.
host::Result<Certificate> read_certificate(const std::string& file) {
  const auto text = host::read_file(file, 1u << 20);
  if (!text) return std::unexpected(text.error());
  const std::unique_ptr<BIO, decltype(&BIO_free)> memory(BIO_new_mem_buf(text->data(), static_cast<int>(text->size())),
                                                         BIO_free);
  Certificate certificate(PEM_read_bio_X509(memory.get(), nullptr, nullptr, nullptr), X509_free);
  if (!certificate) {
    return host::fail(host::Error::Code::invalid, fmt::format("{}: no certificate in PEM format", file));
  }
  return certificate;
}

// Takes the place of every check by chain and name.
int is_the_expected_certificate(X509_STORE_CTX* handshake, void* expected) {
  const X509* shown = X509_STORE_CTX_get0_cert(handshake);
  const bool same = shown != nullptr && X509_cmp(shown, static_cast<const X509*>(expected)) == 0;
  if (!same) X509_STORE_CTX_set_error(handshake, X509_V_ERR_CERT_REJECTED);
  return same ? 1 : 0;
}

// cpprestsdk asks for them in a callback that cannot fail: what the files hold is tried before.
host::Status check_tls_files(const AgentOptions& options) {
  const auto invalid = [](std::string why) { return host::fail(host::Error::Code::invalid, std::move(why)); };
  if (options.cert_file.empty() != options.key_file.empty()) return invalid("--cert and --key go together");
  for (const auto& file : {options.ca_file, options.cert_file, options.key_file}) {
    if (!file.empty() && access(file.c_str(), R_OK) != 0) return host::sys_fail(file);
  }
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  if (!options.ca_file.empty() && SSL_CTX_load_verify_file(context.get(), options.ca_file.c_str()) != 1) {
    return invalid(fmt::format("--cacert {}: no certificate in PEM format", options.ca_file));
  }
  if (options.cert_file.empty()) return {};
  if (SSL_CTX_use_certificate_chain_file(context.get(), options.cert_file.c_str()) != 1) {
    return invalid(fmt::format("--cert {}: no certificate in PEM format", options.cert_file));
  }
  if (SSL_CTX_use_PrivateKey_file(context.get(), options.key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    return invalid(
        fmt::format("--key {}: no key in PEM format, or not that of {}", options.key_file, options.cert_file));
  }
  return {};
}

}  // namespace

host::Error error_of_answer(int status, const std::string& body) {
  auto code = host::Error::Code::failed;
  if (status == 404) code = host::Error::Code::not_found;
  if (status == 401 || status == 403) code = host::Error::Code::denied;
  if (status == 400 || status == 422) code = host::Error::Code::invalid;
  if (status == 409) code = host::Error::Code::exists;
  if (status == 503) code = host::Error::Code::unavailable;
  const auto answer = api::decode_json<api::Status>(body);
  if (!answer || answer->message.empty()) {
    return {.code = code,
            .message = fmt::format("the agent answered with HTTP status {}: {}", status,
                                   body.empty() ? "(nothing)" : body.substr(0, 500))};
  }
  std::string message = answer->message;
  if (answer->details) {
    for (const auto& cause : answer->details->causes) {
      message += cause.field.empty() ? "\n  " + cause.message : fmt::format("\n  {}: {}", cause.field, cause.message);
    }
  }
  return {.code = code, .message = message};
}

host::Result<int> exit_code_of(const std::string& status_json) {
  const auto status = api::decode_json<api::Status>(status_json);
  if (!status) return host::fail("the agent ended the exec with something that is no Status: " + status_json);
  if (status->status == "Success") return 0;
  if (status->reason == "NonZeroExitCode" && status->details) {
    for (const auto& cause : status->details->causes) {
      int code = 0;
      const char* end = cause.message.data() + cause.message.size();
      const auto [stopped, error] = std::from_chars(cause.message.data(), end, code);
      if (cause.reason == "ExitCode" && error == std::errc() && stopped == end) return code;
    }
  }
  return host::fail(status->message);
}

struct AgentClient::Impl {
  AgentOptions options;
  web::uri uri;
  std::string token, token_problem;
  Certificate agent_certificate{nullptr, X509_free};

  // cpprestsdk hands out Asio's context; OpenSSL's own functions do the rest.
  void configure_tls(SSL_CTX* context) const {
    if (agent_certificate) {
      SSL_CTX_set_cert_verify_callback(context, is_the_expected_certificate, agent_certificate.get());
    }
    if (!options.ca_file.empty()) SSL_CTX_load_verify_file(context, options.ca_file.c_str());
    if (!options.cert_file.empty()) {
      SSL_CTX_use_certificate_chain_file(context, options.cert_file.c_str());
      SSL_CTX_use_PrivateKey_file(context, options.key_file.c_str(), SSL_FILETYPE_PEM);
    }
  }

  host::Error unreachable(const std::string& why) const {
    return {.code = host::Error::Code::unavailable,
            .message = fmt::format("cannot reach the agent at {}: {}", options.url, why)};
  }

  host::Error explain(const rest::http_exception& error) const {
    const std::string text = error.what();
    if (error.error_code() == std::errc::connection_refused || text.find("Connection refused") != std::string::npos ||
        text.find("Failed to connect to any resolved endpoint") != std::string::npos) {
      return unreachable("connection refused; is keelson-agent running?");
    }
    if (text.find("SSL") != std::string::npos) {
      if (agent_certificate) {
        return unreachable(
            fmt::format("{}; it has to show the certificate in {}, and does not if that changed since it "
                        "was started (systemctl reload keelson-agent)",
                        text, options.agent_cert_file));
      }
      return unreachable(text + "; --cacert must name the CA of the agent's certificate");
    }
    return unreachable(text);
  }

  host::Result<rest::http_response> request(const std::string& method, const std::string& path, const std::string& body,
                                            std::chrono::seconds timeout) {
    try {
      rest::client::http_client_config config;
      config.set_timeout(timeout);
      config.set_ssl_context_callback([this](auto& context) { configure_tls(context.native_handle()); });
      // A client per request: a kept connection that has gone would make it send again.
      rest::client::http_client client(uri, config);
      rest::http_request request(method);
      request.set_request_uri(path);
      request.headers().add("Accept", "application/json");
      if (!token.empty()) request.headers().add("Authorization", "Bearer " + token);
      if (!body.empty()) request.set_body(body, "application/yaml");
      return client.request(request).get();
    } catch (const rest::http_exception& error) {
      return std::unexpected(explain(error));
    } catch (const std::exception& error) {
      return std::unexpected(unreachable(error.what()));
    }
  }

  host::Error refused(int status, const std::string& body) const {
    auto error = error_of_answer(status, body);
    if (status == 401 && token.empty() && !token_problem.empty()) error.message = "no token to show: " + token_problem;
    if (status == 401 && !token.empty()) {
      error.message =
          fmt::format("the agent at {} does not accept the token in {}; is it the agent of this --root-dir?",
                      options.url, (options.root_dir / "api.token").string());
    }
    return error;
  }

  host::Result<std::string> whole(const std::string& method, const std::string& path, const std::string& body,
                                  std::chrono::seconds timeout) {
    auto response = request(method, path, body, timeout);
    if (!response) return std::unexpected(std::move(response.error()));
    try {
      const auto bytes = response->extract_vector().get();
      std::string text(bytes.begin(), bytes.end());
      if (response->status_code() / 100 != 2) return std::unexpected(refused(response->status_code(), text));
      return text;
    } catch (const std::exception& error) {
      return std::unexpected(unreachable(error.what()));
    }
  }
};

AgentClient::AgentClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
AgentClient::AgentClient(AgentClient&&) noexcept = default;
AgentClient::~AgentClient() = default;

host::Result<AgentClient> AgentClient::create(AgentOptions options) {
  const auto invalid = [](std::string why) { return host::fail(host::Error::Code::invalid, std::move(why)); };
  if (auto checked = check_tls_files(options); !checked) return std::unexpected(std::move(checked.error()));
  auto impl = std::make_unique<Impl>();
  try {
    impl->uri = web::uri(options.url);
  } catch (const std::exception& error) {
    return invalid(fmt::format("--agent {}: {}", options.url, error.what()));
  }
  if ((impl->uri.scheme() != "http" && impl->uri.scheme() != "https") || impl->uri.host().empty()) {
    return invalid(fmt::format("--agent {}: http://host:port or https://host:port is expected", options.url));
  }
  auto token = read_token(options.root_dir);
  if (!token) {
    impl->token_problem = token.error().message;
  } else if (impl->uri.scheme() == "http" && !is_loopback(impl->uri.host())) {
    return invalid(fmt::format("--agent {}: the token would cross the network in the clear; use https", options.url));
  } else {
    impl->token = std::move(*token);
  }
  if (!options.agent_cert_file.empty()) {
    auto certificate = read_certificate(options.agent_cert_file);
    if (!certificate) return std::unexpected(std::move(certificate.error()));
    impl->agent_certificate = std::move(*certificate);
  }
  impl->options = std::move(options);
  static std::once_flag pool;
  std::call_once(pool, [] {
    try {
      crossplat::threadpool::initialize_with_threads(2);  // of 40
    } catch (const std::exception&) {
      // Somebody was first: then with theirs.
    }
  });
  return AgentClient(std::move(impl));
}

host::Result<std::string> AgentClient::get(const std::string& path) {
  return impl_->whole("GET", path, "", kAnswerTime);
}

host::Result<std::string> AgentClient::send(const std::string& method, const std::string& path,
                                            const std::string& body) {
  return impl_->whole(method, path, body, path == "/drain" ? kEndless : kAnswerTime);
}

host::Status AgentClient::stream(const std::string& path, const std::function<void(std::string_view)>& sink) {
  auto response = impl_->request("GET", path, "", kEndless);
  if (!response) return std::unexpected(std::move(response.error()));
  try {
    if (response->status_code() / 100 != 2) {
      const auto bytes = response->extract_vector().get();
      return std::unexpected(impl_->refused(response->status_code(), std::string(bytes.begin(), bytes.end())));
    }
    auto buffer = response->body().streambuf();
    std::array<char, kBlock> block;
    while (true) {
      // As much as is there; one byte, when nothing is, to wait for more.
      const size_t wanted = std::clamp<size_t>(buffer.in_avail(), 1, block.size());
      const size_t size = buffer.getn(reinterpret_cast<uint8_t*>(block.data()), wanted).get();
      if (size == 0) return {};
      sink(std::string_view(block.data(), size));
    }
  } catch (const std::exception& error) {
    return std::unexpected(impl_->unreachable(fmt::format("the answer was cut off: {}", error.what())));
  }
}

host::Result<int> AgentClient::exec(const ExecRequest& request) {
  web::uri_builder target(impl_->uri);
  target.set_scheme(impl_->uri.scheme() == "https" ? "wss" : "ws");
  target.set_path(fmt::format("/exec/{}/{}/{}", request.namespace_, request.pod, request.container));
  std::string query = "stdout=1";
  if (request.use_stdin) query += "&stdin=1";
  query += request.tty ? "&tty=1" : "&stderr=1";
  for (const auto& word : request.command) query += "&command=" + web::uri::encode_data_string(word);
  target.set_query(query);

  struct Ending {
    host::Fd event;
    std::mutex mutex;
    std::string status, why;
    bool over = false;
  };
  const auto ending = std::make_shared<Ending>();  // shared with the socket's thread
  ending->event = host::Fd(eventfd(0, EFD_CLOEXEC));
  if (!ending->event) return host::sys_fail("eventfd");
  const auto finish = [ending](std::string why) {
    {
      const std::lock_guard lock(ending->mutex);
      ending->over = true;
      ending->why = std::move(why);
    }
    const uint64_t one = 1;
    (void)!::write(ending->event.get(), &one, sizeof one);
  };
  try {
    sockets::websocket_client_config config;
    config.headers().add("Authorization", "Bearer " + impl_->token);
    config.add_subprotocol("v5.channel.k8s.io");
    config.set_ssl_context_callback([this](auto& context) { impl_->configure_tls(context.native_handle()); });
    sockets::websocket_callback_client client(config);
    client.set_message_handler([ending](const sockets::websocket_incoming_message& message) {
      auto body = message.body();
      std::string text(message.length(), '\0');
      const auto size = body.streambuf().getn(reinterpret_cast<uint8_t*>(text.data()), text.size()).get();
      text.resize(size);
      if (text.empty()) return;
      const auto channel = text.front();
      const std::string_view payload = std::string_view(text).substr(1);
      // Written here and now: a slow terminal slows the command.
      if (channel == 1) write_all(STDOUT_FILENO, payload);
      if (channel == 2) write_all(STDERR_FILENO, payload);
      if (channel == 3) {
        const std::lock_guard lock(ending->mutex);
        ending->status += payload;
      }
    });
    client.set_close_handler([finish](sockets::websocket_close_status, const std::string& reason,
                                      const std::error_code& error) { finish(error ? error.message() : reason); });
    client.connect(target.to_uri()).get();

    const auto send = [&](std::string message) {
      sockets::websocket_outgoing_message outgoing;
      const auto size = message.size();
      outgoing.set_binary_message(concurrency::streams::bytestream::open_istream(std::move(message)), size);
      client.send(outgoing).get();
    };
    TerminalInput input{.read_stdin = request.use_stdin, .raw = request.tty, .stop = ending->event.get()};
    const auto ran = run_terminal(
        input, [&](std::string_view typed) { send(std::string(1, '\0') + std::string(typed)); },
        [&] { send(std::string("\xff\0", 2)); },
        [&](TerminalSize size) { send(fmt::format("\x04{{\"Width\":{},\"Height\":{}}}", size.columns, size.rows)); });
    if (!ran) return std::unexpected(ran.error());
    const std::lock_guard lock(ending->mutex);
    if (!ending->status.empty()) return exit_code_of(ending->status);
    return std::unexpected(impl_->unreachable("the connection ended before the command did: " + ending->why));
  } catch (const std::exception& error) {
    const std::lock_guard lock(ending->mutex);
    if (!ending->status.empty()) return exit_code_of(ending->status);  // it ended while we were sending
    return std::unexpected(impl_->unreachable(error.what()));
  }
}

}  // namespace keelson::ctl
