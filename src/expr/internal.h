/*
 * internal.h
 *	  What the parts of the expression language share: tokens, the program's
 *	  layout and its arithmetic.
 */
#ifndef EXPR_INTERNAL_H
#define EXPR_INTERNAL_H

#include "expr/expr.h"

/* Tokens (lex.c) */

typedef enum TokenKind
{
	TOKEN_END,
	TOKEN_NUMBER,
	TOKEN_NAME,
	TOKEN_IF,
	TOKEN_ELSE,
	TOKEN_OR,
	TOKEN_AND,
	TOKEN_NOT,
	TOKEN_LESS,
	TOKEN_LESS_EQUAL,
	TOKEN_GREATER,
	TOKEN_GREATER_EQUAL,
	TOKEN_EQUAL,
	TOKEN_NOT_EQUAL,
	TOKEN_PLUS,
	TOKEN_MINUS,
	TOKEN_STAR,
	TOKEN_SLASH,
	TOKEN_SLASH_SLASH,
	TOKEN_PERCENT,
	TOKEN_OPEN,
	TOKEN_CLOSE,
	TOKEN_COMMA,
	TOKEN_REFUSED				/* known, but not in the language */
} TokenKind;

typedef struct Token
{
	TokenKind	kind;
	int			offset;			/* in bytes, and in characters: all before it is ASCII */
	int			length;
} Token;

typedef struct Lexer
{
	const char *text;
	int			length;
	const ExprUnits *units;		/* that it may name; NULL for none */
	Token		token;			/* the token that the parser looks at */
	ExprError  *error;
} Lexer;

/* How much of a token a message quotes, and what a quotation needs at most. */
#define LEXER_QUOTED_BYTES	40
#define LEXER_QUOTE_SIZE	(LEXER_QUOTED_BYTES + 6)

extern bool lexer_next(Lexer *lexer);
extern const char *lexer_quote(const Lexer *lexer, char *quote);
extern bool lexer_before_open(const Lexer *lexer);
extern bool lexer_has_word(const char *name);
extern bool lexer_fail(Lexer *lexer, int offset, int sqlstate, const char *format,...)
			pg_attribute_printf(4, 5);

/*
 * Programs: instructions for a machine with a stack of values.  Jumps only go
 * forward, so a program of n instructions ends after n steps.
 */

typedef enum ExprOp
{
	EXPR_LITERAL,				/* push; argument: the number's place in the program */
	EXPR_VARIABLE,				/* push; argument: ExprVariable */
	EXPR_JUMP,					/* argument of jumps: instructions to skip */
	EXPR_JUMP_IF_FALSE,			/* pops the condition */
	EXPR_AND,					/* keep a false value and jump, or drop it */
	EXPR_OR,					/* keep a true value and jump, or drop it */
	EXPR_NOT,
	EXPR_NEGATE,
	EXPR_LESS,					/* argument of comparisons: 0, or in a chain */
	EXPR_LESS_EQUAL,			/* how far to jump when it does not hold */
	EXPR_GREATER,
	EXPR_GREATER_EQUAL,
	EXPR_EQUAL,
	EXPR_NOT_EQUAL,
	EXPR_ADD,
	EXPR_SUBTRACT,
	EXPR_MULTIPLY,
	EXPR_DIVIDE,
	EXPR_FLOOR_DIVIDE,
	EXPR_MODULO,
	EXPR_CEIL,					/* argument of functions: how many arguments */
	EXPR_FLOOR,
	EXPR_ROUND,
	EXPR_MIN,
	EXPR_MAX,
	EXPR_TIER,
	EXPR_CLAMP,
	EXPR_PERCENTILE,
	EXPR_IF						/* a name only: parsed into jumps */
} ExprOp;

typedef struct ExprInstruction
{
	uint16		op;				/* ExprOp */
	uint16		offset;			/* of its token in the text, for errors */
	int32		argument;
} ExprInstruction;

struct ExprProgram
{
	int32		size;			/* in bytes, with the numbers behind the code */
	int32		count;			/* of instructions */
	ExprInstruction code[FLEXIBLE_ARRAY_MEMBER];
};

#define ExprProgramNumber(program, place) ((Numeric) ((char *) (program) + (place)))

/* Names (names.c) */

typedef struct ExprFunction
{
	const char *name;
	ExprOp		op;
	int			least;			/* arguments */
	int			most;
	bool		even;
	const char *takes;
} ExprFunction;

extern const ExprFunction *expr_function_find(const char *name, int len);
extern const char *expr_function_list(char *list);

/* Building a program (code.c) */

typedef struct Parser
{
	Lexer		lexer;
	int			level;			/* of nesting, here */
	int			nodes;			/* so far */
	int			count;			/* of instructions */
	int			number_count;
	Numeric		numbers[EXPR_MAX_NODES];	/* that the code refers to by index */
	ExprInstruction code[2 * EXPR_MAX_NODES];	/* a conditional is one node and two jumps */
} Parser;

extern bool node_count(Parser *parser, const Token *token);
extern bool node_append(Parser *parser, ExprOp op, int argument, const Token *token);
extern bool number_append(Parser *parser, const Token *token);
extern int	code_append(Parser *parser, ExprOp op, int argument, const Token *token);
extern void code_negate(Parser *parser, int place, const Token *token);
extern void code_swap(Parser *parser, int first, int second);
extern void jump_land(Parser *parser, int jump);
extern ExprProgram *program_build(const Parser *parser);

/* Arithmetic (math.c): NULL or false means that error tells why */

typedef struct ExprConstants
{
	Numeric		zero;
	Numeric		one;
	Numeric		hundred;
	Numeric		hundredth;
	Numeric		greatest;		/* 10^40 and its negative */
	Numeric		lowest;
	Numeric		least;			/* 10^-40 */
} ExprConstants;

extern ExprConstants expr_constants;

extern void expr_constants_load(void);
extern Numeric expr_number(const char *digits);
extern int	expr_compare(Numeric left, Numeric right);
extern bool expr_is_zero(Numeric value);
extern bool expr_check_range(Numeric value, ExprError *error);
extern bool expr_check_digits(Numeric value, int *digits, ExprError *error);
extern bool expr_check_percentage(Numeric value, ExprError *error);
extern Numeric expr_negate(Numeric value);
extern Numeric expr_trim(Numeric value);
extern Numeric expr_calculate(ExprOp op, Numeric left, Numeric right, ExprError *error);
extern Numeric expr_call(ExprOp op, Numeric *arguments, int count, ExprError *error);

#endif							/* EXPR_INTERNAL_H */
