#include "api/query.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "api/syntax.h"

namespace keelson::api {

using host::Error;
using host::fail;
using host::Result;

namespace {

using Operator = LabelRequirement::Operator;

constexpr size_t kMostRequirements = 1'000;

template <typename... Arguments>
std::unexpected<Error> refuse(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  return fail(Error::Code::invalid, fmt::format(format, std::forward<Arguments>(arguments)...));
}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
bool is_special(char c) { return std::string_view("=!(),><").find(c) != std::string_view::npos; }

struct Token {
  enum class Kind : uint8_t {
    end,
    identifier,
    comma,
    open,
    close,
    bang,
    equals,
    not_equals,
    greater,
    less,
    in,
    not_in
  };
  Kind kind = Kind::end;
  std::string_view text;
};

// What "in" and "notin" are depends on where they stand.
enum class Place : uint8_t { value, operator_ };

class LabelParser {
 public:
  explicit LabelParser(std::string_view text) : rest_(text) {}

  Result<LabelQuery> parse() {
    LabelQuery query;
    for (;;) {
      const Token next = look();
      if (next.kind == Token::Kind::end) break;
      if (next.kind != Token::Kind::identifier && next.kind != Token::Kind::bang) {
        return refuse("found '{}', expected: !, identifier, or 'end of string'", next.text);
      }
      auto requirement = parse_requirement();
      if (!requirement) return refuse("unable to parse requirement: {}", requirement.error().message);
      query.requirements.push_back(std::move(*requirement));
      if (query.requirements.size() > kMostRequirements) return refuse("more than {} requirements", kMostRequirements);
      const Token behind = take();
      if (behind.kind == Token::Kind::end) break;
      if (behind.kind != Token::Kind::comma) {
        return refuse("found '{}', expected: ',' or 'end of string'", behind.text);
      }
      const Token after = look();
      if (after.kind != Token::Kind::identifier && after.kind != Token::Kind::bang) {
        return refuse("found '{}', expected: identifier after ','", after.text);
      }
    }
    std::stable_sort(query.requirements.begin(), query.requirements.end(),
                     [](const auto& a, const auto& b) { return a.key < b.key; });
    return query;
  }

 private:
  Token scan(Place place, std::string_view& rest) const {
    while (!rest.empty() && is_space(rest.front())) rest.remove_prefix(1);
    if (rest.empty()) return {};
    size_t length = 1;
    if (is_special(rest.front())) {
      static constexpr std::pair<std::string_view, Token::Kind> kSymbols[] = {
          {"==", Token::Kind::equals}, {"!=", Token::Kind::not_equals}, {"=", Token::Kind::equals},
          {"!", Token::Kind::bang},    {"(", Token::Kind::open},        {")", Token::Kind::close},
          {",", Token::Kind::comma},   {">", Token::Kind::greater},     {"<", Token::Kind::less}};
      for (const auto& [symbol, kind] : kSymbols) {
        if (!rest.starts_with(symbol)) continue;
        const Token token{kind, rest.substr(0, symbol.size())};
        rest.remove_prefix(symbol.size());
        return token;
      }
    }
    while (length < rest.size() && !is_space(rest[length]) && !is_special(rest[length])) ++length;
    Token token{Token::Kind::identifier, rest.substr(0, length)};
    rest.remove_prefix(length);
    if (place == Place::operator_ && token.text == "in") token.kind = Token::Kind::in;
    if (place == Place::operator_ && token.text == "notin") token.kind = Token::Kind::not_in;
    return token;
  }
  Token look(Place place = Place::value) const {
    std::string_view rest = rest_;
    return scan(place, rest);
  }
  Token take(Place place = Place::value) { return scan(place, rest_); }

  Result<LabelRequirement> parse_requirement() {
    LabelRequirement requirement;
    Token token = take();
    const bool negated = token.kind == Token::Kind::bang;
    if (negated) token = take();
    if (token.kind != Token::Kind::identifier) return refuse("found '{}', expected: identifier", token.text);
    requirement.key = token.text;
    for (const std::string& complaint : syntax::qualified_name(requirement.key)) {
      return refuse("<nil>: Invalid value: \"{}\": {}", requirement.key, complaint);
    }
    if (negated) {
      requirement.op = Operator::does_not_exist;
      return requirement;
    }
    if (const Token next = look(); next.kind == Token::Kind::end || next.kind == Token::Kind::comma) {
      return requirement;
    }
    return parse_operator(std::move(requirement));
  }

  Result<LabelRequirement> parse_operator(LabelRequirement requirement) {
    const Token token = take(Place::operator_);
    bool several = false;
    switch (token.kind) {
      case Token::Kind::equals:
        requirement.op = Operator::in;
        break;
      case Token::Kind::not_equals:
        requirement.op = Operator::not_in;
        break;
      case Token::Kind::greater:
        requirement.op = Operator::greater;
        break;
      case Token::Kind::less:
        requirement.op = Operator::less;
        break;
      case Token::Kind::in:
      case Token::Kind::not_in:
        requirement.op = token.kind == Token::Kind::in ? Operator::in : Operator::not_in;
        several = true;
        break;
      default:
        return refuse("found '{}', expected: in, notin, =, ==, !=, gt, lt", token.text);
    }
    auto read = several ? parse_values(requirement.values) : parse_exact(requirement.values);
    if (!read) return std::unexpected(std::move(read.error()));
    std::sort(requirement.values.begin(), requirement.values.end());
    requirement.values.erase(std::unique(requirement.values.begin(), requirement.values.end()),
                             requirement.values.end());
    return checked(std::move(requirement));
  }

  static Result<LabelRequirement> checked(LabelRequirement requirement) {
    for (size_t i = 0; i < requirement.values.size(); ++i) {
      const std::string& value = requirement.values[i];
      for (const std::string& complaint : syntax::label_value(value)) {
        return refuse("values[{}][{}]: Invalid value: \"{}\": {}", i, requirement.key, value, complaint);
      }
      int64_t number = 0;
      const bool compares = requirement.op == Operator::greater || requirement.op == Operator::less;
      if (compares &&
          std::from_chars(value.data(), value.data() + value.size(), number).ptr != value.data() + value.size()) {
        return refuse("values[{}]: Invalid value: \"{}\": for 'Gt', 'Lt' operators, the value must be an integer", i,
                      value);
      }
    }
    return requirement;
  }

  Result<void> parse_exact(std::vector<std::string>& values) {
    const Token next = look();
    if (next.kind == Token::Kind::end || next.kind == Token::Kind::comma) {
      values.emplace_back();
      return {};
    }
    const Token token = take();
    if (token.kind != Token::Kind::identifier) return refuse("found '{}', expected: identifier", token.text);
    values.emplace_back(token.text);
    return {};
  }

  Result<void> parse_values(std::vector<std::string>& values) {
    if (const Token open = take(); open.kind != Token::Kind::open) {
      return refuse("found '{}' expected: '('", open.text);
    }
    bool wants_value = true;  // before the first one and behind a comma: "" may stand there unwritten
    for (;;) {
      const Token token = take();
      if (token.kind == Token::Kind::identifier) {
        if (!wants_value) return refuse("found '{}', expected: ',' or ')'", token.text);
        values.emplace_back(token.text);
        wants_value = false;
      } else if (token.kind == Token::Kind::comma) {
        if (wants_value) values.emplace_back();
        wants_value = true;
      } else if (token.kind == Token::Kind::close) {
        if (wants_value) values.emplace_back();
        return {};
      } else {
        return refuse("found '{}', expected: ',', ')' or identifier", token.text);
      }
    }
  }

  std::string_view rest_;
};

std::optional<int64_t> number_of(const std::string& text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

bool matches_one(const LabelRequirement& requirement, const std::map<std::string, std::string>& labels) {
  const auto found = labels.find(requirement.key);
  const bool present = found != labels.end();
  const auto listed = [&] {
    return std::binary_search(requirement.values.begin(), requirement.values.end(), found->second);
  };
  switch (requirement.op) {
    case Operator::in:
      return present && listed();
    case Operator::not_in:
      return !present || !listed();
    case Operator::exists:
      return present;
    case Operator::does_not_exist:
      return !present;
    case Operator::greater:
    case Operator::less: {
      const auto left = present ? number_of(found->second) : std::nullopt;
      const auto right = requirement.values.size() == 1 ? number_of(requirement.values[0]) : std::nullopt;
      if (!left || !right) return false;
      return requirement.op == Operator::greater ? *left > *right : *left < *right;
    }
  }
  return false;
}

// --- Fields ---

struct Selectable {
  std::string_view kind;
  std::string_view fields;  // with a space before and behind each
};

// Beside metadata.name and metadata.namespace.
constexpr Selectable kSelectable[] = {
    {"Pod",
     " spec.nodeName spec.restartPolicy spec.schedulerName spec.serviceAccountName spec.hostNetwork status.phase "
     "status.podIP status.podIPs status.nominatedNodeName spec.host "},
    {"Node", " spec.unschedulable "},
    {"ReplicationController", " status.replicas "},
    {"Namespace", " status.phase "},
    {"Secret", " type "},
    {"Service", " spec.clusterIP spec.type "},
    {"Event",
     " involvedObject.kind involvedObject.namespace involvedObject.name involvedObject.uid involvedObject.apiVersion "
     "involvedObject.resourceVersion involvedObject.fieldPath reason reportingComponent source type regarding.kind "
     "regarding.namespace regarding.name regarding.uid regarding.apiVersion regarding.resourceVersion "
     "regarding.fieldPath reportingController "},
};

Result<void> check_field(const Resource& resource, std::string_view field) {
  if (field == "metadata.name" || (field == "metadata.namespace" && resource.namespaced)) return {};
  for (const Selectable& selectable : kSelectable) {
    if (selectable.kind != resource.kind) continue;
    if (selectable.fields.find(fmt::format(" {} ", field)) != std::string_view::npos) return {};
    return refuse("field label not supported: {}", field);
  }
  return refuse("\"{}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"", field);
}

// Up to the next separator that no backslash protects.
std::string_view next_term(std::string_view text) {
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\\') {
      ++at;
    } else if (text[at] == ',') {
      return text.substr(0, at);
    }
  }
  return text;
}

Result<std::string> unescape(std::string_view value) {
  std::string out;
  for (size_t at = 0; at < value.size(); ++at) {
    const char c = value[at];
    if (c == '\\') {
      if (++at == value.size() || std::string_view("\\,=").find(value[at]) == std::string_view::npos) {
        return refuse("invalid field selector: invalid escape sequence: {}", value.substr(at - 1, 2));
      }
      out += value[at];
    } else if (c == ',' || c == '=') {
      return refuse("invalid field selector: unescaped character in value: {}", c);
    } else {
      out += c;
    }
  }
  return out;
}

Result<FieldRequirement> parse_term(std::string_view term, std::string_view whole) {
  for (size_t at = 0; at < term.size(); ++at) {
    for (const std::string_view symbol : {"!=", "==", "="}) {
      if (!term.substr(at).starts_with(symbol)) continue;
      auto value = unescape(term.substr(at + symbol.size()));
      if (!value) return std::unexpected(std::move(value.error()));
      return FieldRequirement{std::string(term.substr(0, at)), symbol != "!=", std::move(*value)};
    }
  }
  return refuse("invalid selector: '{}'; can't understand '{}'", whole, term);
}

std::string text_of(const Type& type, const void* object, std::string_view path) {
  const size_t dot = path.find('.');
  const std::string_view name = path.substr(0, dot);
  for (const Field& field : type.fields) {
    if (field.name != name) continue;
    const Access& access = *field.access;
    if (access.shape == Shape::list || access.shape == Shape::map) return {};
    const void* value = access.get(field.look(object));
    if (access.kind == Kind::boolean) return value != nullptr && *static_cast<const bool*>(value) ? "true" : "false";
    if (access.kind == Kind::int32) return std::to_string(value == nullptr ? 0 : *static_cast<const int32_t*>(value));
    if (value == nullptr) return {};
    if (access.kind == Kind::string) return *static_cast<const std::string*>(value);
    if (access.kind == Kind::structure && dot != std::string_view::npos) {
      return text_of(access.type(), value, path.substr(dot + 1));
    }
  }
  return {};
}

// Names that say the same as a path.
std::string_view path_of(const Resource& resource, std::string_view field) {
  if (resource.kind == "Pod" && field == "spec.host") return "spec.nodeName";
  return field;
}

}  // namespace

bool LabelQuery::matches(const std::map<std::string, std::string>& labels) const {
  return std::all_of(requirements.begin(), requirements.end(),
                     [&](const auto& requirement) { return matches_one(requirement, labels); });
}

Result<LabelQuery> parse_label_query(std::string_view text) { return LabelParser(text).parse(); }

LabelQuery query_of(const LabelSelector& selector) {
  LabelQuery query;
  for (const auto& [key, value] : selector.match_labels) query.requirements.push_back({key, Operator::in, {value}});
  for (const LabelSelectorRequirement& expression : selector.match_expressions) {
    LabelRequirement requirement{.key = expression.key, .op = Operator::in, .values = expression.values};
    std::sort(requirement.values.begin(), requirement.values.end());
    if (expression.operator_ == "NotIn") requirement.op = Operator::not_in;
    if (expression.operator_ == "Exists") requirement.op = Operator::exists;
    if (expression.operator_ == "DoesNotExist") requirement.op = Operator::does_not_exist;
    query.requirements.push_back(std::move(requirement));
  }
  std::stable_sort(query.requirements.begin(), query.requirements.end(),
                   [](const auto& a, const auto& b) { return a.key < b.key; });
  return query;
}

std::string to_string(const LabelQuery& query) {
  std::string out;
  for (const LabelRequirement& requirement : query.requirements) {
    if (!out.empty()) out += ',';
    const bool single = requirement.values.size() == 1;
    const std::string values = fmt::format("{}", fmt::join(requirement.values, ","));
    switch (requirement.op) {
      case Operator::in:
        out +=
            single ? fmt::format("{}={}", requirement.key, values) : fmt::format("{} in ({})", requirement.key, values);
        break;
      case Operator::not_in:
        out += single ? fmt::format("{}!={}", requirement.key, values)
                      : fmt::format("{} notin ({})", requirement.key, values);
        break;
      case Operator::exists:
        out += requirement.key;
        break;
      case Operator::does_not_exist:
        out += '!' + requirement.key;
        break;
      case Operator::greater:
        out += fmt::format("{}>{}", requirement.key, values);
        break;
      case Operator::less:
        out += fmt::format("{}<{}", requirement.key, values);
        break;
    }
  }
  return out;
}

Result<FieldQuery> parse_field_query(const Resource& resource, std::string_view text) {
  FieldQuery query;
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view term = next_term(rest);
    rest.remove_prefix(std::min(rest.size(), term.size() + 1));
    if (term.empty()) continue;
    auto requirement = parse_term(term, text);
    if (!requirement) return std::unexpected(std::move(requirement.error()));
    if (auto known = check_field(resource, requirement->field); !known) {
      return std::unexpected(std::move(known.error()));
    }
    requirement->field = path_of(resource, requirement->field);
    if (query.requirements.size() == kMostRequirements) return refuse("more than {} requirements", kMostRequirements);
    query.requirements.push_back(std::move(*requirement));
  }
  return query;
}

std::string field_text(const AnyObject& object, std::string_view path) {
  if (object.resource().kind == "Event" && object.resource().group.empty()) {
    if (path == "source") {
      const auto* event = object.get_if<Event>();
      return event->source.component.empty() ? event->reporting_component : event->source.component;
    }
    if (path == "reportingController") return text_of(object.resource().type(), object.data(), "reportingComponent");
    if (path.starts_with("regarding.")) {
      return text_of(object.resource().type(), object.data(), fmt::format("involvedObject{}", path.substr(9)));
    }
  }
  return text_of(object.resource().type(), object.data(), path);
}

bool FieldQuery::matches(const AnyObject& object) const {
  return std::all_of(requirements.begin(), requirements.end(), [&](const FieldRequirement& requirement) {
    return (field_text(object, requirement.field) == requirement.value) == requirement.equal;
  });
}

const std::string* FieldQuery::value_of(std::string_view field) const {
  for (const FieldRequirement& requirement : requirements) {
    if (requirement.equal && requirement.field == field) return &requirement.value;
  }
  return nullptr;
}

}  // namespace keelson::api
