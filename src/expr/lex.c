/*
 * lex.c
 *	  Splits the text of an expression into tokens.
 *
 * What a person may well try but the language lacks has a reason of its own.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "expr/internal.h"

typedef struct Word
{
	const char *text;
	TokenKind	kind;
	const char *reason;			/* of TOKEN_REFUSED */
} Word;

static const Word words[] = {
	{"if", TOKEN_IF, NULL},
	{"else", TOKEN_ELSE, NULL},
	{"or", TOKEN_OR, NULL},
	{"and", TOKEN_AND, NULL},
	{"not", TOKEN_NOT, NULL},
	{"in", TOKEN_REFUSED, "operator in is not supported"},
	{"is", TOKEN_REFUSED, "operator is is not supported, use =="},
	{"for", TOKEN_REFUSED, "comprehensions are not supported"},
	{"lambda", TOKEN_REFUSED, "lambda is not supported"},
	{"True", TOKEN_REFUSED, "True is not supported, write 1"},
	{"False", TOKEN_REFUSED, "False is not supported, write 0"},
	{"None", TOKEN_REFUSED, "None is not supported, every value is a number"}
};

/* Of two that start alike the longer one comes first. */
static const Word signs[] = {
	{"**", TOKEN_REFUSED, "operator ** is not supported"},
	{"<>", TOKEN_REFUSED, "operator <> is not supported, use !="},
	{"<<", TOKEN_REFUSED, "operator << is not supported"},
	{">>", TOKEN_REFUSED, "operator >> is not supported"},
	{"&&", TOKEN_REFUSED, "operator && is not supported, use and"},
	{"||", TOKEN_REFUSED, "operator || is not supported, use or"},
	{":=", TOKEN_REFUSED, "assignments are not supported"},
	{"<=", TOKEN_LESS_EQUAL, NULL},
	{">=", TOKEN_GREATER_EQUAL, NULL},
	{"==", TOKEN_EQUAL, NULL},
	{"!=", TOKEN_NOT_EQUAL, NULL},
	{"//", TOKEN_SLASH_SLASH, NULL},
	{"<", TOKEN_LESS, NULL},
	{">", TOKEN_GREATER, NULL},
	{"+", TOKEN_PLUS, NULL},
	{"-", TOKEN_MINUS, NULL},
	{"*", TOKEN_STAR, NULL},
	{"/", TOKEN_SLASH, NULL},
	{"%", TOKEN_PERCENT, NULL},
	{"(", TOKEN_OPEN, NULL},
	{")", TOKEN_CLOSE, NULL},
	{",", TOKEN_COMMA, NULL},
	{"=", TOKEN_REFUSED, "assignments are not supported, == compares"},
	{"!", TOKEN_REFUSED, "operator ! is not supported, use not"},
	{"&", TOKEN_REFUSED, "operator & is not supported"},
	{"|", TOKEN_REFUSED, "operator | is not supported"},
	{"^", TOKEN_REFUSED, "operator ^ is not supported"},
	{"~", TOKEN_REFUSED, "operator ~ is not supported"},
	{"@", TOKEN_REFUSED, "operator @ is not supported"},
	{"?", TOKEN_REFUSED, "operator ? is not supported, use: value if condition else value"},
	{".", TOKEN_REFUSED, "attributes are not supported"},
	{"[", TOKEN_REFUSED, "subscripts and lists are not supported"},
	{"]", TOKEN_REFUSED, "subscripts and lists are not supported"},
	{"{", TOKEN_REFUSED, "sets and dictionaries are not supported"},
	{"}", TOKEN_REFUSED, "sets and dictionaries are not supported"},
	{"'", TOKEN_REFUSED, "strings are not supported"},
	{"\"", TOKEN_REFUSED, "strings are not supported"},
	{":", TOKEN_REFUSED, "operator : is not supported"},
	{";", TOKEN_REFUSED, "an expression is a single one, ; is not supported"},
	{"#", TOKEN_REFUSED, "comments are not supported"}
};

static bool lex_number(Lexer *lexer);
static bool lex_word(Lexer *lexer);
static bool lex_sign(Lexer *lexer);
static bool lexer_accept(Lexer *lexer, const Word *word);
static bool lex_other(Lexer *lexer);
static int	lexer_skip(const Lexer *lexer, int offset, bool (*belongs) (char c));
static bool is_space(char c);
static bool is_digit(char c);
static bool is_word(char c);
static bool is_word_or_point(char c);

/*
 * lexer_next moves on to the next token, or fails when there is none that the language has.
 */
bool
lexer_next(Lexer *lexer)
{
	Token	   *token = &lexer->token;
	char		first;

	token->offset += token->length;
	token->length = 0;
	token->offset = lexer_skip(lexer, token->offset, is_space);

	if (token->offset >= lexer->length)
	{
		token->kind = TOKEN_END;
		return true;
	}

	first = lexer->text[token->offset];
	if (is_digit(first))
		return lex_number(lexer);
	if (first == '.' && token->offset + 1 < lexer->length && is_digit(lexer->text[token->offset + 1]))
		return lex_number(lexer);
	if (is_word(first))
		return lex_word(lexer);
	return lex_sign(lexer);
}

/*
 * lexer_fail fills the error of a text for the place at this offset, and returns false.
 */
bool
lexer_fail(Lexer *lexer, int offset, int sqlstate, const char *format,...)
{
	ExprError  *error = lexer->error;
	va_list		arguments;

	error->sqlstate = sqlstate;
	error->position = offset + 1;
	va_start(arguments, format);
	vsnprintf(error->message, sizeof(error->message), format, arguments);
	va_end(arguments);
	return false;
}

/*
 * lexer_quote gives the token as a message shows it: whole, or the beginning of a long one.
 */
const char *
lexer_quote(const Lexer *lexer, char *quote)
{
	const Token *token = &lexer->token;

	if (token->kind == TOKEN_END)
		snprintf(quote, LEXER_QUOTE_SIZE, "the end of the expression");
	else
		snprintf(quote, LEXER_QUOTE_SIZE, "\"%.*s%s\"", Min(token->length, LEXER_QUOTED_BYTES),
				 lexer->text + token->offset, token->length > LEXER_QUOTED_BYTES ? "..." : "");
	return quote;
}

/*
 * lexer_before_open tells whether the token stands before a parenthesis, as the name of a function does.
 */
bool
lexer_before_open(const Lexer *lexer)
{
	int			offset = lexer_skip(lexer, lexer->token.offset + lexer->token.length, is_space);

	return offset < lexer->length && lexer->text[offset] == '(';
}

/*
 * lex_number reads digits with at most one point, and an exponent.
 */
static bool
lex_number(Lexer *lexer)
{
	Token	   *token = &lexer->token;
	int			end = lexer_skip(lexer, token->offset, is_digit);
	char		quote[LEXER_QUOTE_SIZE];

	if (end < lexer->length && lexer->text[end] == '.')
		end = lexer_skip(lexer, end + 1, is_digit);

	if (end < lexer->length && (lexer->text[end] == 'e' || lexer->text[end] == 'E'))
	{
		int			exponent = end + 1;

		if (exponent < lexer->length && (lexer->text[exponent] == '+' || lexer->text[exponent] == '-'))
			exponent++;
		if (exponent < lexer->length && is_digit(lexer->text[exponent]))
			end = lexer_skip(lexer, exponent, is_digit);
	}

	token->kind = TOKEN_NUMBER;
	token->length = lexer_skip(lexer, end, is_word_or_point) - token->offset;
	if (token->offset + token->length > end)
		return lexer_fail(lexer, token->offset, ERRCODE_INVALID_PARAMETER_VALUE,
						  "malformed number %s", lexer_quote(lexer, quote));
	return true;
}

/*
 * lex_word reads a name or a word of the language.
 */
static bool
lex_word(Lexer *lexer)
{
	Token	   *token = &lexer->token;

	token->kind = TOKEN_NAME;
	token->length = lexer_skip(lexer, token->offset, is_word) - token->offset;

	for (int i = 0; i < lengthof(words); i++)
	{
		if (strlen(words[i].text) == token->length &&
			memcmp(words[i].text, lexer->text + token->offset, token->length) == 0)
			return lexer_accept(lexer, &words[i]);
	}
	return true;
}

/*
 * lexer_has_word tells whether a name is a word of the language, or one that it refuses.
 */
bool
lexer_has_word(const char *name)
{
	for (int i = 0; i < lengthof(words); i++)
	{
		if (strcmp(words[i].text, name) == 0)
			return true;
	}
	return false;
}

/*
 * lex_sign reads an operator, a parenthesis or a comma.
 */
static bool
lex_sign(Lexer *lexer)
{
	Token	   *token = &lexer->token;

	for (int i = 0; i < lengthof(signs); i++)
	{
		token->length = (int) strlen(signs[i].text);
		if (token->length <= lexer->length - token->offset &&
			memcmp(signs[i].text, lexer->text + token->offset, token->length) == 0)
			return lexer_accept(lexer, &signs[i]);
	}
	return lex_other(lexer);
}

/*
 * lex_other refuses a character that no token begins with.
 */
static bool
lex_other(Lexer *lexer)
{
	int			offset = lexer->token.offset;
	const char *text = lexer->text + offset;
	unsigned char byte = *text;

	if (byte < 0x20 || byte == 0x7f)
		return lexer_fail(lexer, offset, ERRCODE_INVALID_PARAMETER_VALUE,
						  "unexpected control character 0x%02x", byte);

	return lexer_fail(lexer, offset, ERRCODE_INVALID_PARAMETER_VALUE, "unexpected character \"%.*s\"%s",
					  pg_mbcharcliplen(text, lexer->length - offset, 1), text,
					  byte < 0x80 ? "" : ", only ASCII is allowed");
}

/*
 * lexer_accept takes a word of the language as the token, or tells why it is not in the language.
 */
static bool
lexer_accept(Lexer *lexer, const Word *word)
{
	lexer->token.kind = word->kind;
	if (word->kind == TOKEN_REFUSED)
		return lexer_fail(lexer, lexer->token.offset, ERRCODE_INVALID_PARAMETER_VALUE, "%s", word->reason);
	return true;
}

/*
 * lexer_skip gives the first offset from here on whose character does not belong.
 */
static int
lexer_skip(const Lexer *lexer, int offset, bool (*belongs) (char c))
{
	while (offset < lexer->length && belongs(lexer->text[offset]))
		offset++;
	return offset;
}

/*
 * is_space tells whether tokens may be set apart by this character.
 */
static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n';
}

/*
 * is_digit tells whether this is one of the ten ASCII digits, whatever the locale.
 */
static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/*
 * is_word tells whether a name may contain this character.
 */
static bool
is_word(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/*
 * is_word_or_point tells whether this character, next to a number, would be taken for a part of it.
 */
static bool
is_word_or_point(char c)
{
	return is_word(c) || c == '.';
}
