/*
 * words.c
 *		Lists of words.
 */
#include "postgres.h"

#include "base/words.h"

/*
 * word_find returns which of a list of words a text is, -1 for none.
 */
int
word_find(Words words, const char *text)
{
	return word_find_of(words, text, (int) strlen(text));
}

/*
 * word_find_of does the same with a text that does not end with 0.
 */
int
word_find_of(Words words, const char *text, int len)
{
	for (int i = words[0] == NULL ? 1 : 0; words[i] != NULL; i++)
		if (strncmp(words[i], text, len) == 0 && words[i][len] == '\0')
			return i;
	return -1;
}
