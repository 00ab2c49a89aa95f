#include "api/service.h"

#include "base/invariant.h"

namespace postern::api {
namespace {

struct Kind {
  std::string_view type;
  int status;
  std::string_view title;
};

constexpr Kind kKinds[] = {
    {kProblemInvalid, 400, "The request cannot be read"},
    {kProblemUnauthenticated, 401, "Nobody is known by this token"},
    {kProblemDenied, 403, "Not allowed"},
    {kProblemNotFound, 404, "Not found"},
    {kProblemMethod, 405, "This method is not known here"},
    {kProblemConflict, 409, "In conflict with what is registered"},
    {kProblemPrecondition, 412, "It is not what it was any more"},
    {kProblemTooLarge, 413, "The request is too large"},
    {kProblemMediaType, 415, "The body must be JSON"},
    {kProblemUnprocessable, 422, "The request asks for something impossible"},
    {kProblemUnknownParent, 422, "The parent is not part of the management group"},
    {kProblemExhausted, 429, "A limit is reached"},
    {kProblemInternal, 500, "The management server failed"},
    {kProblemNotAvailable, 501, "Not available in this version"},
    {kProblemDirection, 501,
     "Connections initiated by the parent are not available in this version"},
    {kProblemUnavailable, 503, "Try again later"},
    {kProblemStorageFull, 507, "The management server's storage is full"},
};

std::string_view type_of(Errc code) {
  switch (code) {
    case Errc::invalid:
      return kProblemUnprocessable;
    case Errc::denied:
      return kProblemDenied;
    case Errc::unavailable:
      return kProblemUnavailable;
    case Errc::exhausted:
      return kProblemExhausted;
    case Errc::corrupt:
      return kProblemInternal;
  }
  return kProblemInternal;
}

}  // namespace

ApiError problem(std::string_view type, std::string detail) {
  for (const Kind& kind : kKinds)
    if (kind.type == type)
      return {kind.status, std::string(type), std::string(kind.title), std::move(detail)};
  invariant(false, "a problem has one of the types of service.h");
  return {};
}

std::string place_of(std::string_view name, std::string_view id) {
  return fmt::format("{} {}", name, id);
}
std::string place_of(const NodeSummary& node) { return place_of(node.name, node.id); }

bool matches_pattern(std::string_view pattern, std::string_view name) {
  // The classic walk: after a mismatch the last star swallows one more character.
  std::size_t at = 0, star = pattern.npos, swallowed = 0;
  for (std::size_t i = 0; i < name.size();) {
    if (at < pattern.size() && pattern[at] == '*') {
      star = at++;
      swallowed = i;
    } else if (at < pattern.size() && pattern[at] == name[i]) {
      ++at, ++i;
    } else if (star != pattern.npos) {
      at = star + 1;
      i = ++swallowed;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', at) == pattern.npos;
}

ApiError problem_of(const Error& error) { return problem(type_of(error.code), error.message); }

}  // namespace postern::api
